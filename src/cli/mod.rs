//! Arguments and printing, one file a command. Nothing is decided here: `operate` decides, this room shows.
