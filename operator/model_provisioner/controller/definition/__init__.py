"""`model-provisioner definition`: brings the custom resource definition of a cluster up to date."""
