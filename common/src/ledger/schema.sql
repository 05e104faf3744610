-- The ledger, version 1. Times are milliseconds since 1970 in UTC.
CREATE TABLE watermark (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    inbox TEXT NOT NULL CHECK (length(inbox) = 32),
    seq INTEGER NOT NULL CHECK (seq >= 0)
) STRICT;

CREATE TABLE delivery (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    source TEXT NOT NULL,
    provider_id TEXT,
    received_at INTEGER NOT NULL,
    imported_at INTEGER NOT NULL,
    answer TEXT NOT NULL CHECK (answer IN ('accepted', 'ignored', 'ping')),
    reason TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_by_provider_id ON delivery (provider_id) WHERE provider_id IS NOT NULL;

CREATE TABLE run (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    delivery BLOB NOT NULL REFERENCES delivery (id),
    source TEXT NOT NULL,
    repository TEXT NOT NULL,
    job TEXT NOT NULL,
    event TEXT NOT NULL,
    kind TEXT NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('created', 'changed', 'deleted')),
    ref TEXT,
    sha TEXT CHECK (length(sha) IN (40, 64)),
    lane TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'timed_out', 'cancelled',
                                         'interrupted', 'superseded', 'refused')),
    reason TEXT,
    queued_at INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    CHECK ((state IN ('queued', 'running')) = (ended_at IS NULL)),
    CHECK (state <> 'queued' OR started_at IS NULL),
    CHECK (state NOT IN ('running', 'succeeded', 'failed', 'timed_out', 'interrupted') OR started_at IS NOT NULL),
    CHECK ((state IN ('queued', 'running', 'succeeded')) = (reason IS NULL))
) STRICT;
-- One run of a lane at a time, whoever claims it.
CREATE UNIQUE INDEX run_running ON run (lane) WHERE state = 'running';
CREATE INDEX run_queued ON run (lane, id) WHERE state = 'queued';
CREATE INDEX run_by_job ON run (repository, job, ref, id);

CREATE TABLE run_delivery (
    run INTEGER NOT NULL REFERENCES run (id),
    delivery BLOB NOT NULL REFERENCES delivery (id),
    provider_event TEXT NOT NULL,
    PRIMARY KEY (run, delivery)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_by_delivery ON run_delivery (delivery);

CREATE TABLE step (
    run INTEGER NOT NULL REFERENCES run (id),
    position INTEGER NOT NULL CHECK (position >= 0),
    name TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    result TEXT,
    PRIMARY KEY (run, position),
    CHECK ((ended_at IS NULL) = (result IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE notice (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES run (id),
    recipient TEXT NOT NULL,
    sender TEXT NOT NULL,
    message_id TEXT NOT NULL,
    message BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('due', 'sent', 'given_up')),
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    due_at INTEGER,
    error TEXT,
    sent_at INTEGER,
    tried_at INTEGER,
    created_at INTEGER NOT NULL,
    UNIQUE (run, recipient),
    CHECK ((state = 'due') = (due_at IS NOT NULL)),
    CHECK ((state = 'sent') = (sent_at IS NOT NULL)),
    CHECK (state <> 'given_up' OR error IS NOT NULL)
) STRICT;
CREATE INDEX notice_due ON notice (due_at) WHERE state = 'due';
CREATE INDEX notice_by_run ON notice (run);
