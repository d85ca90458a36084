"""What commands that read many samples have in common: columns of tables, and how many samples are held at once."""
