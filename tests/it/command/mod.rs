//! The command line, from outside: the program, a fake Last.fm, a directory.

mod checker_is_strict;
mod cli;
mod directory;
mod dry_run;
mod forget;
mod lastfm_bodies;
mod login;
mod moving_history;
mod queries;
mod secrets_dir;
mod settings;
mod status;
mod sync;
mod trouble;
mod verify;
