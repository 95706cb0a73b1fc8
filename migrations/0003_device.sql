-- Leaving a channel and joining it again.
--
-- A device key that has signed in a channel must not sign there again once its numbering is forgotten: it would give
-- two events one number. So whoever comes back signs with a new device key, kept with the channel.

-- A device key of a channel's own, used there instead of the home's. It goes with the channel. `created` is in Unix
-- seconds, as 8 bytes; `lamport` is the channel's clock as it was when the channel was last left.
CREATE TABLE channel_device (
    channel INTEGER PRIMARY KEY REFERENCES channel (id) ON DELETE CASCADE,
    seed    BLOB NOT NULL CHECK (length(seed) = 32),
    created BLOB NOT NULL CHECK (length(created) = 8),
    lamport INTEGER NOT NULL
) STRICT;

-- Channels that were left, each by a tag made of the channel's id and the home's device key.
CREATE TABLE left_channel (
    tag     BLOB PRIMARY KEY CHECK (length(tag) = 32),
    lamport INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Channels that were left before now are not known. The home's key so far signed in them, too: it stays with the channels
-- that are here, and the home gets a new one at the next start.
INSERT INTO channel_device (channel, seed, created, lamport)
    SELECT channel.id, key.bytes,
        coalesce((SELECT bytes FROM value WHERE name = 'device_created'), zeroblob(8)), 0
    FROM channel JOIN value AS key ON key.name = 'device_key';
DELETE FROM value WHERE name IN ('device_key', 'device_created');
