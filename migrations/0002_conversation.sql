-- Conversations: events about other events, a search for what is shown, and what members say of themselves.
--
-- `event_kind(raw)`, `event_target(raw)` and `event_text(raw)` are functions of the program: what it
-- understands of an event's body (0 and null where it understands nothing).

-- `kind` also: 5 edit, 6 deletion, 7 reaction, 8 read mark, 9 picture, 10 status. Earlier versions kept
-- events of these kinds as unknown.
UPDATE event SET kind = event_kind(raw) WHERE kind = 0;

-- What an edit, a deletion or a reaction is about. It may not be here yet, or never come.
ALTER TABLE event ADD COLUMN target BLOB CHECK (target IS NULL OR length(target) = 32);
UPDATE event SET target = event_target(raw) WHERE kind IN (5, 6, 7);
CREATE INDEX event_target ON event (channel, target, kind) WHERE target IS NOT NULL;

-- Of each identity, the latest event of a kind about a target: what counts, however many there were.
-- Kept in step with `event`, whose row is at `position`.
CREATE TABLE reference (
    channel  INTEGER NOT NULL REFERENCES channel (id) ON DELETE CASCADE,
    target   BLOB NOT NULL CHECK (length(target) = 32),
    kind     INTEGER NOT NULL,
    identity BLOB NOT NULL CHECK (length(identity) = 32),
    position INTEGER NOT NULL,
    lamport  INTEGER NOT NULL,
    device   BLOB NOT NULL CHECK (length(device) = 32),
    seq      INTEGER NOT NULL,
    PRIMARY KEY (channel, target, kind, identity)
) STRICT, WITHOUT ROWID;
INSERT INTO reference (channel, target, kind, identity, position, lamport, device, seq)
    SELECT event.channel, target, kind, identity, position, event.lamport, event.device, seq
    FROM event JOIN log ON log.id = event.log
    WHERE target IS NOT NULL
    ORDER BY event.lamport, event.device, seq
    ON CONFLICT DO UPDATE SET position = excluded.position, lamport = excluded.lamport,
        device = excluded.device, seq = excluded.seq;

-- The latest of its kind in a log, as `event_profile` for names.
CREATE INDEX event_read ON event (log, seq) WHERE kind = 8;
CREATE INDEX event_picture ON event (log, seq) WHERE kind = 9;
CREATE INDEX event_status ON event (log, seq) WHERE kind = 10;

-- The words of texts as they are shown now, by the text's position. The words themselves are in `event`.
CREATE VIRTUAL TABLE said USING fts5 (
    text, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2'
);
INSERT INTO said (rowid, text)
    SELECT event.position, event_text(coalesce(newest.raw, event.raw))
    FROM event JOIN log ON log.id = event.log
        LEFT JOIN reference AS edit ON edit.channel = event.channel AND edit.target = event.id
            AND edit.kind = 5 AND edit.identity = log.identity
        LEFT JOIN event AS newest ON newest.position = edit.position
        LEFT JOIN reference AS deletion ON deletion.channel = event.channel
            AND deletion.target = event.id AND deletion.kind = 6 AND deletion.identity = log.identity
    WHERE event.kind = 2 AND deletion.position IS NULL;
-- Texts leave with their log's fork, or their channel.
CREATE TRIGGER event_unsaid AFTER DELETE ON event WHEN old.kind = 2 BEGIN
    DELETE FROM said WHERE rowid = old.position;
END;
