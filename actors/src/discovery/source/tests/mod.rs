mod hashes;
mod status;
