"""The Price List service: what use costs here, in the shape of AWS's price list."""
