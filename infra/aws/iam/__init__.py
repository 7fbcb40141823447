"""IAM roles and policies of CI, and the permissions boundary of all roles."""
