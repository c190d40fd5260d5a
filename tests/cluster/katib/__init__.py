"""What stands in for Katib on the bed, whose controller cannot be built there: a schema and a controller of ours."""
