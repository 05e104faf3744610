-- The ledger, version 3: runs that no delivery asked for, the order in which runs start, what holds a lane, what is known
-- of schedules and of the forge's refs. Times are milliseconds since 1970 in UTC.
CREATE TABLE new_run (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    delivery BLOB REFERENCES delivery (id),
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
    cause TEXT NOT NULL CHECK (cause IN ('delivery', 'replay', 'manual', 'rerun', 'retry', 'schedule', 'reconcile')),
    asked_by TEXT,
    origin INTEGER REFERENCES run (id) ON DELETE SET NULL,
    priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 100),
    attempt INTEGER NOT NULL CHECK (attempt >= 1),
    not_before INTEGER,
    allow_older INTEGER NOT NULL CHECK (allow_older IN (0, 1)),
    -- Where it stands in its lane: its own number, or that of the run whose place it takes.
    place INTEGER,
    -- 1 while it is queued and nothing of its lane is before it: neither a run nor a hold.
    turn INTEGER NOT NULL DEFAULT 0 CHECK (turn IN (0, 1)),
    CHECK ((state IN ('queued', 'running')) = (ended_at IS NULL)),
    CHECK (state <> 'queued' OR started_at IS NULL),
    CHECK (state NOT IN ('running', 'succeeded', 'failed', 'timed_out', 'interrupted') OR started_at IS NOT NULL),
    CHECK ((state IN ('queued', 'running', 'succeeded')) = (reason IS NULL)),
    CHECK (cause NOT IN ('delivery', 'replay') OR delivery IS NOT NULL),
    CHECK ((cause IN ('replay', 'manual', 'rerun')) = (asked_by IS NOT NULL)),
    CHECK (origin IS NULL OR cause IN ('rerun', 'retry')),
    CHECK (turn = 0 OR state = 'queued')
) STRICT;
INSERT INTO new_run (id, delivery, source, repository, job, event, kind, action, ref, sha, lane, state, reason,
                     queued_at, started_at, ended_at, cause, asked_by, priority, attempt, allow_older)
    SELECT id, delivery, source, repository, job, event, kind, action, ref, sha, lane, state, reason,
           queued_at, started_at, ended_at, iif(replayed_by IS NULL, 'delivery', 'replay'), replayed_by, 50, 1, 0
    FROM run;
DROP TABLE run;
ALTER TABLE new_run RENAME TO run;
-- One run of a lane at a time, whoever claims it.
CREATE UNIQUE INDEX run_running ON run (lane) WHERE state = 'running';
CREATE INDEX run_queued ON run (lane, coalesce(place, id)) WHERE state = 'queued';
-- What may start, in the order in which it does.
CREATE INDEX run_turn ON run (priority DESC, id) WHERE turn = 1;
CREATE UNIQUE INDEX run_turn_of_lane ON run (lane) WHERE turn = 1;
-- Who is asked for once more while it waits, and who was told of once already.
CREATE INDEX run_waiting ON run (repository, job, ref, sha) WHERE state = 'queued';
CREATE INDEX run_made_or_gone ON run (repository, job, ref, action, id) WHERE action <> 'changed';
CREATE INDEX run_found ON run (repository, job, ref, id) WHERE cause = 'reconcile';
CREATE INDEX run_by_job ON run (repository, job, ref, id);
CREATE INDEX run_by_origin ON run (origin) WHERE origin IS NOT NULL;
-- What people look for.
CREATE INDEX run_of_repository ON run (repository, id);
CREATE INDEX run_of_job ON run (job, id);
CREATE INDEX run_that_went_wrong ON run (state, id) WHERE state NOT IN ('queued', 'running', 'succeeded');
UPDATE run SET turn = 1 WHERE id IN (SELECT min(id) FROM run WHERE state = 'queued' GROUP BY lane)
    AND lane NOT IN (SELECT lane FROM run WHERE state = 'running');

-- What each job put last where it is used: the commit of the last `deploy` that succeeded on a line, which is a ref, all
-- tags together ('refs/tags/*'), or '' for what has no ref. It outlives the run.
CREATE TABLE deployed (
    repository TEXT NOT NULL,
    job TEXT NOT NULL,
    line TEXT NOT NULL,
    sha TEXT NOT NULL CHECK (length(sha) IN (40, 64)),
    run INTEGER NOT NULL,
    deployed_at INTEGER NOT NULL,
    PRIMARY KEY (repository, job, line)
) STRICT, WITHOUT ROWID;
INSERT INTO deployed (repository, job, line, sha, run, deployed_at)
    SELECT repository, job, iif(ref GLOB 'refs/tags/*', 'refs/tags/*', coalesce(ref, '')), sha, max(id), ended_at
    FROM run
    WHERE sha IS NOT NULL AND ended_at IS NOT NULL AND kind NOT IN ('branch_deleted', 'tag_deleted')
      AND EXISTS (SELECT 1 FROM step WHERE run = run.id AND name = 'deploy' AND result = '{"result":"exited","detail":0}')
    GROUP BY 1, 2, 3;

-- Lanes in which nothing starts until a person lets them go on.
CREATE TABLE hold (
    lane TEXT PRIMARY KEY,
    run INTEGER REFERENCES run (id) ON DELETE SET NULL,
    by TEXT,
    reason TEXT NOT NULL,
    held_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Up to which instant a job's schedule was looked at, and which schedule that was.
CREATE TABLE schedule_state (
    repository TEXT NOT NULL,
    job TEXT NOT NULL,
    schedule TEXT NOT NULL,
    looked_until INTEGER NOT NULL,
    PRIMARY KEY (repository, job)
) STRICT, WITHOUT ROWID;

-- When the forge was last asked for the refs of a repository; when that was for which it answered last, and the newest run
-- that there was then. What it answered stands in known_ref.
CREATE TABLE reconciled (
    repository TEXT PRIMARY KEY,
    asked_at INTEGER NOT NULL,
    answered_at INTEGER,
    newest_run INTEGER,
    CHECK ((answered_at IS NULL) = (newest_run IS NULL))
) STRICT, WITHOUT ROWID;
CREATE TABLE known_ref (
    repository TEXT NOT NULL REFERENCES reconciled (repository) ON DELETE CASCADE,
    ref TEXT NOT NULL,
    sha TEXT NOT NULL CHECK (length(sha) IN (40, 64)),
    PRIMARY KEY (repository, ref)
) STRICT, WITHOUT ROWID;
