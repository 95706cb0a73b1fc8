-- Leaving a channel and joining it again.
--
-- A device key that has signed in a channel must not sign there again once its numbering is forgotten: it would give
-- two events one number. So whoever comes back signs with a new device key, kept with the channel.

-- A device key of a channel's own, used there instead of the home's. It goes with the channel.
CREATE TABLE channel_device (
    channel INTEGER PRIMARY KEY REFERENCES channel (id) ON DELETE CASCADE,
    seed    BLOB NOT NULL CHECK (length(seed) = 32),
    created INTEGER NOT NULL
) STRICT;

-- Channels that were left, each by a tag that only this home can compute from the channel's id.
CREATE TABLE left_channel (
    tag BLOB PRIMARY KEY CHECK (length(tag) = 32)
) STRICT, WITHOUT ROWID;
