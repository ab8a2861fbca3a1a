"""ListTables and GetTable."""

from stead_controller.aws.bcm_data_exports import export_view
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.resources.data_exports import tables


@operation("ListTables", service="bcm-data-exports", writes=False)
def list_tables(call: Call, params: Params) -> Result:
    """List what can be exported."""
    asked = export_view.page(call, params, "ListTables")
    after = asked.after[0] if asked.after else ""
    rows = [table for name, table in sorted(tables.TABLES.items()) if name > after]
    shown, token = asked.cut(rows, lambda table: (table.name,))
    found = [
        {
            "TableName": table.name,
            "Description": table.words,
            "TableProperties": [
                {
                    "Name": name,
                    "ValidValues": list(known.values),
                    "DefaultValue": known.values[0],
                    "Description": known.words,
                }
                for name, known in table.properties.items()
            ],
        }
        for table in shown
    ]
    return {"Tables": found, "NextToken": token}


@operation("GetTable", service="bcm-data-exports", writes=False)
def get_table(call: Call, params: Params) -> Result:
    """Show a table with its columns."""
    del call
    table = tables.find(params["TableName"])
    return {
        "TableName": table.name,
        "Description": table.words,
        "TableProperties": table.read(params.get("TableProperties") or {}),
        "Schema": [{"Name": name, "Type": tables.type_of(name), "Description": name} for name in table.columns],
    }
