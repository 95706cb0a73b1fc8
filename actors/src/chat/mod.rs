//! Chat: what the events of a channel mean to people (`docs/PROTOCOL.md`, 9.3).
