"""Frames of other people's files, made ours: one reader per format, one importer for all.

`settings` says what a file means (key names, units, signs), a reader turns it into batches,
`importer` converts once, reports what is wrong with the frames and writes an archive in chunks.
"""
