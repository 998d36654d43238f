//! The planner as a bare wasm module: whole flows over bytes in linear memory, so that the linker keeps all of it and an
//! import of anything would show. Built and looked at by `tests/tests/it/purity.rs`; nothing else uses it.

use vtflow_planner::{Answer, Call, CallOptions, Flow, Record, Timestamp, What, explain::Plan, rpc};

/// Runs a flow: the first half of the bytes is the request, the second half the answer to every ask. Returns the length of the
/// reply, the error and the plan together.
///
/// # Safety
/// `bytes` points to `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn flow(bytes: *const u8, length: usize, seconds: i64) -> usize {
    // SAFETY: the caller says so.
    let bytes = unsafe { std::slice::from_raw_parts(bytes, length) };
    let (request, answer) = bytes.split_at(length / 2);
    let mut size = 0;
    for path in [rpc::GET_WORKFLOWS, rpc::SNAPSHOT] {
        let call = Call { path: path.into(), request: request.to_vec(), options: CallOptions::default() };
        let mut flow = Flow::start(&call, Timestamp { seconds, nanos: 0 });
        let mut all = Vec::new();
        for _ in 0..4 {
            let asks = flow.asks();
            for ask in &asks {
                let answer = match &ask.what {
                    What::TopoGet { .. } => Answer::Found { value: answer.to_vec(), version: 1 },
                    What::TopoRange { prefix, .. } | What::TopoList { prefix, .. } => Answer::Range(vec![
                        Record { path: format!("{prefix}0/Shard"), value: answer.to_vec(), version: 1 },
                        Record { path: format!("{prefix}zone1/CellInfo"), value: answer.to_vec(), version: 1 },
                        Record { path: format!("{prefix}zone1-0000000100/Tablet"), value: answer.to_vec(), version: 1 },
                    ]),
                    What::TopoDelete { .. } => Answer::Deleted,
                    What::TopoPut { version, .. } => Answer::Stored { version: *version },
                    What::TopoLock { .. } => Answer::Locked,
                    What::TopoUnlock { .. } => Answer::Unlocked,
                    What::TabletCall { .. } | What::TabletPage { .. } => Answer::Called(answer.to_vec()),
                };
                flow.answer(ask.id, answer);
            }
            all.extend(asks);
        }
        size += Plan::new(path, &all, flow.failures()).text().len();
        size += flow.into_reply().map_or(0, |reply| match reply.result {
            Ok(bytes) => bytes.len(),
            Err(status) => status.message.len(),
        });
    }
    size
}
