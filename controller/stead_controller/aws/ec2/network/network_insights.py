"""Network Insights: paths (Create, Describe, Delete) and their analyses (Start, Describe, Delete)."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import repeatable, tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.network.network_insights_view import (
    analysis_view,
    path_view,
    result_text,
    started_analysis_view,
)
from stead_controller.errors import MissingParameter, Unsupported
from stead_controller.request.conditions import Selection
from stead_controller.resources.network import network_insights
from stead_controller.resources.network.network_insights import NewAnalysis, NewPath, PacketFilter

_PATH = "network-insights-path"
_ANALYSIS = "network-insights-analysis"
_UNBUILT = ("AdditionalAccounts", "FilterInArns", "FilterOutArns")


@operation("CreateNetworkInsightsPath")
def create_network_insights_path(call: Call, params: Params) -> Result:
    """Create a path."""
    asked = NewPath(
        source=params["Source"],
        destination=params.get("Destination"),
        protocol=params["Protocol"],
        source_ip=params.get("SourceIp"),
        destination_ip=params.get("DestinationIp"),
        destination_port=params.get("DestinationPort"),
        at_source=_filter(params.get("FilterAtSource", {})),
        at_destination=_filter(params.get("FilterAtDestination", {})),
        tags=tags_on_create(params, _PATH)[_PATH],
    )
    path_id = network_insights.create_path(
        call.tx, call.caller, asked, repeatable=repeatable("CreateNetworkInsightsPath", params), now=call.now
    )
    (found,) = network_insights.describe_paths(call.tx, call.caller, call.cloud, Selection((path_id,)))
    return {"NetworkInsightsPath": path_view(found)}


@operation("DeleteNetworkInsightsPath")
def delete_network_insights_path(call: Call, params: Params) -> Result:
    """Delete a path."""
    network_insights.remove_path(call.tx, call.caller, params["NetworkInsightsPathId"])
    return {"NetworkInsightsPathId": params["NetworkInsightsPathId"]}


@operation("DescribeNetworkInsightsPaths", writes=False)
def describe_network_insights_paths(call: Call, params: Params) -> Result:
    """List paths."""
    name, known = "DescribeNetworkInsightsPaths", network_insights.PATH_FILTERS
    page = describe.page(call, params, name, ids="NetworkInsightsPathIds", at_least=1, at_most=100)
    path_ids = tuple(params.get("NetworkInsightsPathIds", ()))
    asked = Selection(path_ids, describe.filters(params, known), page.after, page.fetch)
    found = network_insights.describe_paths(call.tx, call.caller, call.cloud, asked)
    return selection.answered("NetworkInsightsPaths", found, page, lambda one: (one.path.id,), path_view)


@operation("StartNetworkInsightsAnalysis")
def start_network_insights_analysis(call: Call, params: Params) -> Result:
    """Analyse a path."""
    for name in _UNBUILT:
        if params.get(name):
            raise Unsupported(f"The parameter {name} is not supported.")
    analysis_id = network_insights.start(
        call.tx,
        call.caller,
        NewAnalysis(params["NetworkInsightsPathId"], tags_on_create(params, _ANALYSIS)[_ANALYSIS]),
        written=partial(result_text, call.cloud, call.caller.account_id),
        repeatable=repeatable("StartNetworkInsightsAnalysis", params),
        now=call.now,
    )
    (found,) = network_insights.describe_analyses(call.tx, call.caller, call.cloud, Selection((analysis_id,)))
    return {"NetworkInsightsAnalysis": started_analysis_view(found)}


@operation("DeleteNetworkInsightsAnalysis")
def delete_network_insights_analysis(call: Call, params: Params) -> Result:
    """Delete an analysis."""
    network_insights.remove_analysis(call.tx, call.caller, params["NetworkInsightsAnalysisId"])
    return {"NetworkInsightsAnalysisId": params["NetworkInsightsAnalysisId"]}


@operation("DescribeNetworkInsightsAnalyses", writes=False)
def describe_network_insights_analyses(call: Call, params: Params) -> Result:
    """List analyses with all their findings."""
    name, known = "DescribeNetworkInsightsAnalyses", network_insights.ANALYSIS_FILTERS
    page = describe.page(call, params, name, ids="NetworkInsightsAnalysisIds", at_least=1, at_most=100)
    analysis_ids = tuple(params.get("NetworkInsightsAnalysisIds", ()))
    asked = Selection(analysis_ids, describe.filters(params, known), page.after, page.fetch)
    found = network_insights.describe_analyses(
        call.tx,
        call.caller,
        call.cloud,
        asked,
        path_id=params.get("NetworkInsightsPathId"),
        since=params.get("AnalysisStartTime"),
        until=params.get("AnalysisEndTime"),
    )
    return selection.answered("NetworkInsightsAnalyses", found, page, lambda one: (one.analysis.id,), analysis_view)


def _filter(given: Mapping[str, Any]) -> PacketFilter:
    return PacketFilter(
        given.get("SourceAddress"),
        _ports(given.get("SourcePortRange")),
        given.get("DestinationAddress"),
        _ports(given.get("DestinationPortRange")),
    )


def _ports(given: Mapping[str, Any] | None) -> tuple[int, int] | None:
    if given is None:
        return None
    for name in ("FromPort", "ToPort"):
        if name not in given:
            raise MissingParameter(name)
    return given["FromPort"], given["ToPort"]
