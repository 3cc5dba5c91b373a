"""UK Biobank: the files of an extract, found, read and joined."""
