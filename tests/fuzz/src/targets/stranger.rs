//! A planner that says anything: a component of the planner's interface whose every value is what stands in its memory at the request,
//! where the input is. So the host reads lists, texts and cases from bytes of strangers.

use std::sync::LazyLock;

use vtflow_component::{Limits, Planner};
use vtflow_planner::{Answer, Call, CallOptions, FlowHandle, Reply, Timestamp, What};
use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, GlobalSection,
    GlobalType, ImportSection, MemorySection, MemoryType, Module, TypeSection, ValType,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::{flow::ASKS, input::Output, world::folder};

/// Where the request stands in its memory: behind the path, which is the first thing that comes.
const REQUEST: u32 = HEAP + 8;
/// Where what the host passes in is put.
const HEAP: u32 = 1_024;
/// Offsets from the request to what is said: asks at first, asks later, whether an answer is taken, failures, the reply.
const ASKS_FIRST: u32 = 0;
const ASKS_LATER: u32 = 8;
const TAKEN: u32 = 16;
const FAILURES: u32 = 24;
const END: u32 = 32;

static STRANGER: LazyLock<Planner> = LazyLock::new(|| {
    let limits = Limits { fuel: 1_000_000, memory: 4 << 20 };
    Planner::new("stranger.wasm", &component(), limits).expect("a component of the interface")
});

/// The module: functions that return addresses, nothing else.
fn component() -> Vec<u8> {
    use ValType::{I32, I64};
    let name = |of: &str| format!("vtflow:planner/planning@0.1.0#{of}");
    let (mut types, mut functions, mut exports, mut code) =
        (TypeSection::new(), FunctionSection::new(), ExportSection::new(), CodeSection::new());
    types.ty().function([I32], [I32]);
    let mut imports = ImportSection::new();
    imports.import("[export]vtflow:planner/planning@0.1.0", "[resource-new]flow", EntityType::Function(0));
    // Globals: 0, the end of what has been put into memory; 1, the request; 2, how often asks have been handed out.
    let mut globals = GlobalSection::new();
    for start in [HEAP, REQUEST, 0] {
        let of = GlobalType { val_type: I32, mutable: true, shared: false };
        globals.global(of, &ConstExpr::i32_const(start.cast_signed()));
    }
    let mut put = |export: String, params: Vec<ValType>, body: &dyn Fn(&mut Function)| {
        let at = functions.len() + 1;
        types.ty().function(params, [I32]);
        functions.function(at);
        let mut function = Function::new([]);
        body(&mut function);
        function.instructions().end();
        code.function(&function);
        exports.export(&export, ExportKind::Func, at);
    };
    let at = |offset: u32| {
        move |function: &mut Function| {
            function.instructions().global_get(1).i32_const(offset.cast_signed()).i32_add();
        }
    };
    put("cabi_realloc".into(), vec![I32; 4], &|function| {
        // The address; then everything of eight bytes.
        function.instructions().global_get(0).global_get(0).local_get(3).i32_add().i32_const(7).i32_add().i32_const(-8).i32_and();
        function.instructions().global_set(0);
    });
    let mut call = vec![I32; 11];
    call.extend([I64, I64, I32]);
    put(name("[constructor]flow"), call, &|function| {
        function.instructions().local_get(2).global_set(1).i32_const(1).call(0);
    });
    put(name("[method]flow.asks"), vec![I32], &|function| {
        at(ASKS_FIRST)(function);
        at(ASKS_LATER)(function);
        function.instructions().global_get(2).i32_eqz().select();
        function.instructions().i32_const(1).global_set(2);
    });
    put(name("[method]flow.answer"), vec![I32, I32, I32, I64, I32, I64, I32], &|function| {
        at(TAKEN)(function);
        function.instructions().i32_load8_u(wasm_encoder::MemArg { offset: 0, align: 0, memory_index: 0 });
    });
    put(name("[method]flow.failures"), vec![I32], &at(FAILURES));
    put(name("[method]flow.end"), vec![I32], &at(END));
    put(name("explain"), vec![I32; 6], &|function| {
        // Behind the name of the RPC, which is the first thing that comes: its own bytes.
        function.instructions().local_get(0);
    });
    // "x", which is neither a version nor a digest.
    for of in ["version", "digest"] {
        put(name(of), vec![], &|function| {
            function.instructions().i32_const(16);
        });
    }
    exports.export("memory", ExportKind::Memory, 0);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 4, maximum: Some(8), memory64: false, shared: false, page_size_log2: None });
    let mut data = DataSection::new();
    data.active(0, &ConstExpr::i32_const(16), [24, 0, 0, 0, 1, 0, 0, 0, b'x']);
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&memories).section(&globals).section(&exports);
    module.section(&code).section(&data);
    let mut bytes = module.finish();
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(folder().join("../../planner/component/wit")).expect("the interface");
    let world = resolve.select_world(&[package], Some("planner")).expect("the world");
    embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8).expect("its metadata");
    ComponentEncoder::default().module(&bytes).and_then(|mut encoder| encoder.encode()).expect("a component")
}

/// Its memory.
pub(super) fn run(memory: &[u8]) {
    let path = "/s".to_owned();
    let call = Call { path, request: memory.to_vec(), options: CallOptions::default() };
    let mut flow = STRANGER.start(&call, Timestamp::default());
    let mut bytes = 0;
    let mut count = 0;
    for _ in 0..3 {
        let asks = flow.asks();
        count += asks.len();
        bytes += asks.iter().map(|ask| size(&ask.what)).sum::<usize>();
        let failures = flow.failures();
        bytes += failures.iter().map(|failure| failure.place().len() + failure.message.len()).sum::<usize>();
        for ask in asks.iter().take(ASKS) {
            flow.answer(ask.id, Answer::Locked);
        }
        if asks.len() > ASKS {
            return;
        }
    }
    // What a component can make the host copy in one call is bounded by wasmtime: 128 MiB.
    assert!(bytes < 1 << 30 && count < 1 << 24, "{bytes} bytes, {count} asks");
    if let Some(Reply { result: Err(status), .. }) = flow.end() {
        assert!(!status.message.contains("panicked"), "{}", status.message);
    }
    let text = String::from_utf8_lossy(memory);
    if let Err(error) = STRANGER.explain(&text, &[], &[]) {
        assert!(!error.is_empty());
    }
}

fn size(what: &What) -> usize {
    match what {
        What::TopoGet { cell, path } | What::TopoRange { cell, prefix: path } | What::TopoList { cell, prefix: path } => {
            cell.len() + path.len()
        }
        What::TopoPut { cell, path, value, .. } => cell.len() + path.len() + value.len(),
        What::TopoDelete { cell, path, .. } => cell.len() + path.len(),
        What::TopoLock { path, action, .. } => path.len() + action.len(),
        What::TopoUnlock { .. } => 4,
        What::TabletCall { tablet, path, request, about, .. } => {
            tablet.alias.len() + tablet.host.len() + path.len() + request.len() + about.statement.len() + about.keyspace.len()
        }
        What::TabletPage { tablet, path } => tablet.alias.len() + path.len(),
    }
}

/// Memory with one ask of each kind, a failure, and a reply that is an error or a message.
pub(super) fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = vec![("nothing".to_owned(), vec![0; 80])];
    for case in 0..8_u8 {
        for is_error in [false, true] {
            let text = |memory: &mut Vec<u8>, at: usize| {
                // Every text is the same: 8 bytes at the end of the head.
                memory[at..at + 4].copy_from_slice(&(REQUEST + 80).to_le_bytes());
                memory[at + 4..at + 8].copy_from_slice(&8_u32.to_le_bytes());
            };
            let pair = |memory: &mut Vec<u8>, at: usize, offset: u32, count: u32| {
                memory[at..at + 4].copy_from_slice(&(REQUEST + offset).to_le_bytes());
                memory[at + 4..at + 8].copy_from_slice(&count.to_le_bytes());
            };
            let mut memory = vec![0; 300];
            memory[80..88].copy_from_slice(b"customer");
            pair(&mut memory, 0, 88, 1);
            // The ask: its number, its round, its kind, and eight texts or numbers.
            memory[88] = 7;
            memory[92] = 1;
            memory[96] = case;
            for at in (104..192).step_by(8) {
                text(&mut memory, at);
            }
            if case == 6 {
                // Behind the port come the path, the request, the effect, and what people read.
                memory[128..132].copy_from_slice(&15_999_u32.to_le_bytes());
                for at in [132, 140, 152, 160, 168, 176, 184] {
                    text(&mut memory, at);
                }
                memory[148..152].copy_from_slice(&1_u32.to_le_bytes());
            }
            memory[16] = 1;
            // A failure: four texts, what is lost, and its text.
            pair(&mut memory, 24, 200, 1);
            for at in [200, 208, 216, 224, 236] {
                text(&mut memory, at);
            }
            memory[232] = case;
            // The reply: there is one; no stream; its result; the failures; what was written.
            memory[32] = 1;
            memory[44] = u8::from(is_error);
            if is_error {
                memory[48] = 2;
                text(&mut memory, 52);
            } else {
                text(&mut memory, 48);
            }
            pair(&mut memory, 60, 200, 1);
            memory[68] = u8::from(case == 7);
            text(&mut memory, 72);
            let Output(seed) = Output(memory);
            seeds.push((format!("{case}-{is_error}"), seed));
        }
    }
    seeds
}
