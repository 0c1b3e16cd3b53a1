-- The layout of flows.sqlite that the first versions left: the lab has the daemon bring it to the newest one.
PRAGMA journal_mode = WAL;
BEGIN;
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE flows (
    id INTEGER PRIMARY KEY,
    uid TEXT, start INTEGER, seen INTEGER, duration INTEGER,
    src TEXT, src_port INTEGER, dst TEXT, dst_port INTEGER,
    proto TEXT, service TEXT, state TEXT, history TEXT,
    orig_pkts INTEGER, orig_bytes INTEGER, orig_ip_bytes INTEGER,
    resp_pkts INTEGER, resp_bytes INTEGER, resp_ip_bytes INTEGER, missed_bytes INTEGER,
    src_mac TEXT, dst_mac TEXT, vlan INTEGER, interface INTEGER, origin TEXT,
    label TEXT, truth_label TEXT, truth_detailed TEXT);
CREATE TABLE flow_index (first INTEGER PRIMARY KEY, last_start INTEGER, fingerprints BLOB);
CREATE TABLE evidence (
    id TEXT PRIMARY KEY, kind TEXT, attacker TEXT, attacker_type TEXT, victim TEXT, victim_type TEXT,
    level TEXT, confidence REAL, profile TEXT, window INTEGER, at INTEGER, last_seen INTEGER,
    proto TEXT, src_port INTEGER, dst_port INTEGER, description TEXT, related TEXT, proven INTEGER,
    count INTEGER, weight REAL, accumulated REAL, revision INTEGER);
CREATE TABLE evidence_flows (evidence_id TEXT, uid TEXT, PRIMARY KEY (evidence_id, uid)) WITHOUT ROWID;
CREATE TABLE alerts (
    id TEXT PRIMARY KEY, attacker TEXT, window INTEGER, window_start INTEGER, window_end INTEGER,
    at INTEGER, created INTEGER, cause TEXT, accumulated REAL, confidence REAL, level TEXT,
    proven INTEGER, in_conversation INTEGER, attacker_is_local INTEGER);
CREATE TABLE alert_evidence (
    alert_id TEXT, position INTEGER, evidence_id TEXT, PRIMARY KEY (alert_id, position)) WITHOUT ROWID;
CREATE TABLE blocks (
    id INTEGER PRIMARY KEY, net TEXT, reason TEXT, alert_id TEXT, source TEXT,
    "from" INTEGER, until INTEGER, state TEXT, applied INTEGER);
CREATE INDEX blocks_live ON blocks (until) WHERE state = 'live';
ALTER TABLE blocks ADD COLUMN unproven INTEGER NOT NULL DEFAULT 0;
CREATE INDEX blocks_net ON blocks (net);
ALTER TABLE blocks ADD COLUMN manner TEXT NOT NULL DEFAULT 'drop';
CREATE TABLE logins (addr TEXT PRIMARY KEY, last INTEGER) WITHOUT ROWID;
CREATE TABLE profiles (addr TEXT PRIMARY KEY, last INTEGER, facts TEXT) WITHOUT ROWID;
CREATE INDEX profiles_last ON profiles (last);
CREATE TABLE profile_macs (mac TEXT, addr TEXT, PRIMARY KEY (mac, addr)) WITHOUT ROWID;
CREATE INDEX evidence_attacker ON evidence (attacker);
CREATE INDEX evidence_victim ON evidence (victim);
CREATE INDEX alerts_attacker ON alerts (attacker);
PRAGMA application_id = 1397510227;
PRAGMA user_version = 5;
COMMIT;
