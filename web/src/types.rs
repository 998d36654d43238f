//! The planner's serde forms as TypeScript: what the generated `.d.ts` calls the objects. `docs/traces.md` has their meaning.
//!
//! By hand, because the planner's types say nothing of TypeScript; `runner/tests/it/hosts.rs` compares the objects of every recorded
//! request with the names here.

use wasm_bindgen::prelude::*;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** Bytes: as text where people can read them, else in base64. */
export type Bytes = { text: string } | { base64: string };
/** A moment: seconds since 1970 UTC, and nanoseconds within the second. */
export interface Timestamp { seconds: number; nanos: number }
/** How far a request that writes goes. */
export type Mode = "perform" | "preview" | { planned: string };
export interface CallOptions { strict: boolean; mode: Mode; force: boolean; shards: string[]; reply_bytes?: number }
/** A request: its gRPC path and its message. */
export interface Call { path: string; request: Bytes; options?: Partial<CallOptions> }
export interface TabletAddress { alias: string; cell: string; host: string; grpc_port: number }
export interface PageAddress { alias: string; cell: string; host: string; port: number }
export interface About { keyspace: string; shard: string; db_name: string; subject: string; statement: string }
export type Effect = "read" | "write";
/** What is asked, and of whom. */
export type What =
  | { kind: "topo_get"; cell: string; path: string }
  | { kind: "topo_range" | "topo_list"; cell: string; prefix: string }
  | { kind: "topo_put"; cell: string; path: string; value: Bytes; version: number }
  | { kind: "topo_delete"; cell: string; path: string; version: number }
  | { kind: "topo_lock"; path: string; action: string; is_named: boolean }
  | { kind: "topo_unlock"; lock: number }
  | { kind: "tablet_call"; tablet: TabletAddress; path: string; request: Bytes; effect: Effect; limit_ms?: number; about: About }
  | { kind: "tablet_page"; tablet: PageAddress; path: string };
/** What an ask does to the writes of a shard; an empty one: of all shards of the keyspace that were closed. */
export interface Gate { turn: "closes" | "opens"; keyspace: string; shard: string }
export interface Ask { id: number; round: number; what: What; gate?: Gate }
export interface TopologyRecord { path: string; value: Bytes; version?: number }
export type FailureKind = { status: number } | "unreachable" | "timed_out" | "not_sent" | "too_large";
export type Answer =
  | { found: { value: Bytes; version: number } }
  | { range: TopologyRecord[] }
  | { missing: { node: string } }
  | { called: Bytes }
  | { stored: { version: number } }
  | { failed: { kind: FailureKind; message: string } }
  | "deleted"
  | "locked"
  | "unlocked";
/** What a reply lacks, and why. */
export interface Failure { keyspace: string; shard?: string; tablet?: string; workflow?: string; lost: string; message: string }
/** A gRPC status. */
export interface Status { code: number; message: string }
export interface Reply { stream?: Bytes[]; result: { ok: Bytes } | { error: Status }; failures: Failure[]; written?: Written }
export interface PlannedRow { name: string; about: string; basis: string }
export interface PlannedWrite {
  keyspace: string; shard: string; tablet: string; address: string; db_name: string;
  rpc: string; request: string; statement: string; rows: PlannedRow[];
}
/** One step of a change: `writes` is how many of the plan's it has, in their order; `reads` are its calls that change nothing. */
export interface PlannedStep { name: string; way: "back" | "point_of_no_return" | "forward"; writes: number; reads: string[]; turn?: "closes" | "opens" }
/** Writes that are refused on the way: to these tables, or (without any) to all of the shards. */
export interface Refuses { keyspace: string; shards: string[]; tables: string[]; before?: string[] }
export interface WritePlan {
  planner: string; rpc: string; request: string; force: boolean; shards: string[]; summary: string; locks: string[];
  writes: PlannedWrite[]; kept: string[]; warnings: string[]; gone?: string[]; refuses?: Refuses; steps?: PlannedStep[]; digest: string;
}
export interface Outcome {
  keyspace: string; shard: string; tablet: string; verdict: "applied" | "not_applied" | "unknown"; rows: number; message?: string;
}
/** What a write planned and did. */
export interface Written { plan: WritePlan; outcomes: Outcome[]; notes: string[]; refused?: string[] }
export interface Planner { version: string; digest: string }
export interface Traced extends Ask { asked_us: number; sent_us?: number; answered_us?: number; order?: number; answer?: Answer }
export interface Trace {
  vtflow_trace: 1; planner: Planner; call: Call; now: Timestamp; redacted?: boolean; asks: Traced[]; reply?: Reply; took_us: number;
}
/** A planner's run over a trace; no differences: it went as it was recorded. */
export interface Replayed { reply: Reply | null; differences: string[] }
export type PlannedAsk = { round: number } & (
  | { kind: "range" | "list" | "get" | "put"; cell: string; path: string }
  | { kind: "lock"; path: string }
  | { kind: "unlock" }
  | {
      kind: "call"; keyspace: string; shard: string; tablet: string; address: string; effect: Effect; db_name: string;
      rpc: string; statement: string; subject: string;
    }
  | { kind: "page"; tablet: string; address: string; path: string }
);
export interface Plan { rpc: string; rounds: number; asks: PlannedAsk[]; failures: Failure[] }
export interface PlannedStatement { tablet: string; shard: string; db_name: string; statement: string; pieces: [string, boolean][] }
export interface Planned {
  plan: Plan; failures: Failure[]; missing: Missing | null; refused: Status | null; next_step: string | null; statements: PlannedStatement[];
}
/** Why a statement is refused, and where. */
export interface Refused { message: string; accepted: string; before: string; at: string; after: string }
/** What one request came to: a reply and when it was begun, or why there is none. */
export interface One { reply?: Reply; now?: Timestamp; error?: string }
/** What one keyspace answered, each request for itself. */
export interface Asked { keyspace: string; workflows: One; migrations: One; shards: One }
/** A workflow, or a schema migration, that is in trouble. */
export interface Troubled { name: string; kind: string; state: string; note: string }
/** A keyspace at a glance. */
export interface OverviewLine {
  keyspace: string; standing: "trouble" | "unknown" | "partly_unknown" | "well" | "empty"; state: string; count?: number; kinds: string; note: string;
  troubled: Troubled[]; has_trouble: boolean;
}
/** All keyspaces: a line for each, and the same as tables. */
export interface Overview { workflows: OverviewLine[]; migrations: OverviewLine[]; tables: [Table, Table] }
/** A column: `least` characters tell one cell from another. */
export type Column = { heading: string } & ({ kind: "word" | "note" } | { kind: "text" | "name"; least: number });
/** A row: `keyspace` is the one of which there is more to see. */
export interface Row { cells: string[]; has_trouble: boolean; is_beneath: boolean; keyspace?: string }
export interface Table { columns: Column[]; rows: Row[] }
/** What is missing from a reply, as people read it, with what to try. */
export interface Missing { heading: string; parts: { place: string; message: string; hint?: string }[] }
/** A command to copy, and what for. */
export interface Step { why: string; command: string }
/** One thing that is wrong: whom it hurts; each line with its label. */
export interface DeviationLines { heading: string; lines: [string, string][]; commands?: Step[] }
export interface DiagnosedPart { heading: string; keyspace: string; workflow: string; deviations: DeviationLines[]; lines: [string, string][] }
/** What is wrong with the traffic of workflows. */
export interface Diagnosis {
  verdict: "healthy" | "deviations" | "could_not_look"; summary: string; parts: DiagnosedPart[]; well: string[]; notes: string[];
}
/** One step of a change: what is otherwise from it on, its calls, and whether writes are refused meanwhile. */
export interface StepLines {
  before: string[]; name: string; calls: { text: string; writes: boolean }[]; after: string | null; is_refusing: boolean; is_past: boolean;
}
/** A plan as lines: in steps, or else target by target. */
export interface PlanLines {
  summary: string; steps: StepLines[]; targets: { heading: string; rows: [string, string][]; statements: string[] }[];
  besides: [string, string][]; gone_heading: string; gone: string[];
}
/** One step of a rehearsal; times are microseconds after the first call, estimated. */
export interface TimedStep {
  before: string[]; number: number | null; name: string; counted: string; after: string | null; is_refusing: boolean; is_past: boolean;
  span_us: [number, number] | null;
  calls: { text: string; writes: boolean; round: number; begins_us: number; ends_us: number; told: string; failed: string }[];
}
/** A rehearsal as lines, with the times of a picture. */
export interface RehearsalLines {
  verdict: "healthy" | "refused" | "not_healthy" | "could_not_look"; summary: string; head: string[]; steps: TimedStep[]; error: string[];
  notes: string[]; times: string[]; refused_us: [number, number] | null; estimate_us: number; not_known_heading: string; not_known: string[]; gone_heading: string; gone: string[];
  after: string; diagnosis: Diagnosis | null; faults: [Table, string[]] | null;
}
/** What there is to see of a reply. The first of the tables has a row for each of the workflows, if there are any. */
export interface Shown {
  workflows: { line: object; description: object; picture: object }[]; migrations: object[]; keyspaces: string[];
  title: string; notes: string[]; tables: Table[]; diagnosis: Diagnosis | null; plan: PlanLines | null; outcomes: string[]; missing: Missing | null; next_step: string | null;
}
/** An ask in words, and what came of it. */
export interface AskWords { whom: string; place: string; what: string; outcome: "ok" | "missing" | "failed" | "none"; text: string; bytes: number }
/** A request in plain fields. */
export type Request =
  | { kind: "workflows"; keyspace: string; workflow?: string; logs?: boolean; active_only?: boolean; shards?: string[] }
  | { kind: "migrations"; keyspace: string; uuid?: string }
  | { kind: "shards"; keyspace: string }
  | { kind: "diagnosis"; keyspace?: string; workflow?: string }
  | { kind: "vexec"; keyspace: string; workflow?: string; sql: string; shards?: string[] }
  | { kind: "update"; keyspace: string; workflow: string; action: "start" | "stop"; shards?: string[] }
  | { kind: "delete"; keyspace: string; workflow: string; ignore_source?: boolean; shards?: string[] }
  | {
      kind: "traffic"; keyspace: string; workflow: string; change: "switch" | "reverse" | "complete" | "cancel"; whose?: "all" | "reads" | "writes";
    }
  | {
      kind: "migration"; keyspace: string; uuid: string; shards?: string[];
      verb: "cancel" | "cleanup" | "complete" | "force_cutover" | "launch" | "retry";
    };
"#;
