"""StorageClasses, the EFS file system and the ECR repositories."""
