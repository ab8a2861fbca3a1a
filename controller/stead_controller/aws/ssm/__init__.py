"""Systems Manager: public parameters that name images."""
