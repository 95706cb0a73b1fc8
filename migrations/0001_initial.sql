-- The first shape of a profile's database.
--
-- Times are Unix milliseconds. Ids, keys and signatures are raw bytes. A channel's own row number
-- stands for its 32-byte id in all other tables; deleting the channel's row deletes all that is its.

-- Named settings of the node; some are secret keys.
CREATE TABLE value (
    name  TEXT PRIMARY KEY,
    bytes BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The channels of this profile. `file` holds the channel's secret.
CREATE TABLE channel (
    id        INTEGER PRIMARY KEY,
    cid       BLOB NOT NULL UNIQUE CHECK (length(cid) = 32),
    file      BLOB NOT NULL,
    joined_ms INTEGER NOT NULL
) STRICT;

-- One row for each device's log in a channel, made by the log's first event, from which
-- `identity`, `created` and `certificate` (the signature) come. Kept in step with `event`.
CREATE TABLE log (
    id          INTEGER PRIMARY KEY,
    channel     INTEGER NOT NULL REFERENCES channel (id) ON DELETE CASCADE,
    device      BLOB NOT NULL CHECK (length(device) = 32),
    identity    BLOB NOT NULL CHECK (length(identity) = 32),
    created     INTEGER NOT NULL,
    certificate BLOB NOT NULL CHECK (length(certificate) = 64),
    floor       INTEGER NOT NULL DEFAULT 0,
    next        INTEGER NOT NULL DEFAULT 0,
    head        BLOB NOT NULL CHECK (length(head) = 32),
    lamport     INTEGER NOT NULL DEFAULT 0,
    UNIQUE (channel, device)
) STRICT;

-- Events, as signed (`raw`). AUTOINCREMENT: a position is never given twice, also when its event
-- has left the log, so that it can serve as a cursor.
-- `kind`: 0 unknown, 1 first event of a log, 2 text, 3 profile, 4 farewell.
CREATE TABLE event (
    position   INTEGER PRIMARY KEY AUTOINCREMENT,
    channel    INTEGER NOT NULL REFERENCES channel (id) ON DELETE CASCADE,
    log        INTEGER NOT NULL REFERENCES log (id) ON DELETE CASCADE,
    seq        INTEGER NOT NULL,
    device     BLOB NOT NULL CHECK (length(device) = 32),
    lamport    INTEGER NOT NULL,
    kind       INTEGER NOT NULL,
    arrival_ms INTEGER NOT NULL,
    id         BLOB NOT NULL UNIQUE CHECK (length(id) = 32),
    raw        BLOB NOT NULL,
    signature  BLOB NOT NULL CHECK (length(signature) = 64),
    UNIQUE (log, seq)
) STRICT;

-- The channel's order, and the same for what people said: a flood of other events must not slow
-- the reading of a conversation.
CREATE INDEX event_order ON event (channel, lamport, device, seq);
CREATE INDEX event_conversation ON event (channel, lamport, device, seq) WHERE kind = 2;
-- The order of arrival in one channel (a row's number is part of every index).
CREATE INDEX event_arrival ON event (channel);
-- The last profile of a log.
CREATE INDEX event_profile ON event (log, seq) WHERE kind = 3;

-- What a caller's idempotency key made.
CREATE TABLE idempotency (
    channel INTEGER NOT NULL REFERENCES channel (id) ON DELETE CASCADE,
    key     TEXT NOT NULL,
    event   BLOB NOT NULL CHECK (length(event) = 32),
    PRIMARY KEY (channel, key)
) STRICT, WITHOUT ROWID;

-- How far a member's device has another device's log.
CREATE TABLE delivery (
    channel  INTEGER NOT NULL REFERENCES channel (id) ON DELETE CASCADE,
    member   BLOB NOT NULL CHECK (length(member) = 32),
    author   BLOB NOT NULL CHECK (length(author) = 32),
    identity BLOB NOT NULL CHECK (length(identity) = 32),
    next     INTEGER NOT NULL,
    PRIMARY KEY (channel, member, author)
) STRICT, WITHOUT ROWID;

-- The proof with the lowest number that a device forked its log. From `seq` on the log is closed.
-- It may be known before anything of the log is.
CREATE TABLE fork (
    channel     INTEGER NOT NULL REFERENCES channel (id) ON DELETE CASCADE,
    device      BLOB NOT NULL CHECK (length(device) = 32),
    seq         INTEGER NOT NULL,
    a_raw       BLOB NOT NULL,
    a_signature BLOB NOT NULL CHECK (length(a_signature) = 64),
    b_raw       BLOB NOT NULL,
    b_signature BLOB NOT NULL CHECK (length(b_signature) = 64),
    PRIMARY KEY (channel, device)
) STRICT, WITHOUT ROWID;

-- Events that were in a log before it was closed below them.
CREATE TABLE evidence (
    position   INTEGER PRIMARY KEY,
    channel    INTEGER NOT NULL REFERENCES channel (id) ON DELETE CASCADE,
    device     BLOB NOT NULL CHECK (length(device) = 32),
    seq        INTEGER NOT NULL,
    lamport    INTEGER NOT NULL,
    arrival_ms INTEGER NOT NULL,
    id         BLOB NOT NULL UNIQUE CHECK (length(id) = 32),
    raw        BLOB NOT NULL,
    signature  BLOB NOT NULL CHECK (length(signature) = 64)
) STRICT;
CREATE INDEX evidence_channel ON evidence (channel);

-- Where members were reached.
CREATE TABLE known_peer (
    id         INTEGER PRIMARY KEY,
    channel    INTEGER NOT NULL REFERENCES channel (id) ON DELETE CASCADE,
    identity   BLOB NOT NULL CHECK (length(identity) = 32),
    address    TEXT NOT NULL,
    last_ok_ms INTEGER NOT NULL,
    UNIQUE (channel, identity, address)
) STRICT;
CREATE INDEX known_peer_age ON known_peer (channel, last_ok_ms);
