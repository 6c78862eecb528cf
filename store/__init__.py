"""I/O to the database: typed mappings, migrations, plain functions per table group."""
