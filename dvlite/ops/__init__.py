"""The verbs: one operation, one module, used by the command line and by Python programs."""
