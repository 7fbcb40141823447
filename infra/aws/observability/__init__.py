"""CloudWatch alarms, log groups and the budget."""
