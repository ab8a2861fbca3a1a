"""The audit trail: records of calls become files and rows, apart from the calls themselves."""
