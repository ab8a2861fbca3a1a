"""`stead`: the command line of people who run the cloud."""
