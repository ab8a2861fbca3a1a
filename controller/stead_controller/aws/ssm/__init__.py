"""Systems Manager: public parameters that name images, and no instances that it manages."""
