//! The planner for the browser: flows, plans and replays as plain JavaScript objects.
//!
//! Every object is the serde form of the planner's own type: the same as in a trace (`docs/traces.md`). Bytes are
//! `{text}` or `{base64}`. Nothing is decided here; what people see of a reply is `planner/screen`'s.
//!
//! An argument of another form is thrown as an `Error` that says which, and what is wrong with it.

use serde::{Serialize, de::DeserializeOwned};
use vtflow_planner::{AskId, FlowHandle, trace::Planner};
use wasm_bindgen::prelude::*;

mod plan;
mod request;
mod show;
mod types;

pub use plan::{check, plan};
pub use request::call;
pub use show::{asks, nothing, overview, printable, rehearsal, show, table};

/// A request on its way: asks come out, answers go in, a reply ends it.
#[wasm_bindgen]
pub struct Flow {
    flow: vtflow_planner::Flow,
}

#[wasm_bindgen]
impl Flow {
    /// Begins a request: `call` is `{path, request, options?}`, `now` is `{seconds, nanos}`.
    ///
    /// # Errors
    /// An argument of another form.
    #[wasm_bindgen(constructor)]
    pub fn new(
        #[wasm_bindgen(unchecked_param_type = "Call")] call: JsValue,
        #[wasm_bindgen(unchecked_param_type = "Timestamp")] now: JsValue,
    ) -> Result<Flow, JsError> {
        let (call, now) = (read("call", call)?, read("now", now)?);
        Ok(Self { flow: vtflow_planner::Flow::start(&call, now) })
    }

    /// The asks released since the last time.
    ///
    /// # Errors
    /// None that is known.
    #[wasm_bindgen(unchecked_return_type = "Ask[]")]
    pub fn asks(&mut self) -> Result<JsValue, JsError> {
        write(&self.flow.asks())
    }

    /// Takes the answer to an ask. False if no such ask is out.
    ///
    /// # Errors
    /// An answer of another form.
    pub fn answer(&mut self, id: u32, #[wasm_bindgen(unchecked_param_type = "Answer")] answer: JsValue) -> Result<bool, JsError> {
        Ok(self.flow.answer(AskId(id), read("answer", answer)?))
    }

    /// Targets that have nobody to ask.
    ///
    /// # Errors
    /// None that is known.
    #[wasm_bindgen(unchecked_return_type = "Failure[]")]
    pub fn failures(&self) -> Result<JsValue, JsError> {
        write(&self.flow.failures())
    }

    /// The reply, once nothing is outstanding: to be taken once.
    ///
    /// # Errors
    /// None that is known.
    #[wasm_bindgen(unchecked_return_type = "Reply | null")]
    pub fn end(&mut self) -> Result<JsValue, JsError> {
        write(&FlowHandle::end(&mut self.flow))
    }
}

/// Which planner this is: `{version, digest}`.
///
/// # Errors
/// None that is known.
#[wasm_bindgen(unchecked_return_type = "Planner")]
pub fn planner() -> Result<JsValue, JsError> {
    write(&Planner::this())
}

/// Runs the planner over a trace: `{reply, differences}`.
///
/// # Errors
/// A trace of another form.
#[wasm_bindgen(unchecked_return_type = "Replayed")]
pub fn replay(#[wasm_bindgen(unchecked_param_type = "Trace")] trace: JsValue) -> Result<JsValue, JsError> {
    let trace: vtflow_planner::trace::Trace = read("trace", trace)?;
    let mut flow = vtflow_planner::Flow::start(&trace.call, trace.now);
    write(&vtflow_planner::trace::replay(&mut flow, &trace))
}

fn read<T: DeserializeOwned>(name: &str, value: JsValue) -> Result<T, JsError> {
    serde_wasm_bindgen::from_value(value).map_err(|error| JsError::new(&format!("{name}: {error}")))
}

/// Plain objects, numbers and null, as JSON would have them.
fn write<T: Serialize>(value: &T) -> Result<JsValue, JsError> {
    let serializer = serde_wasm_bindgen::Serializer::json_compatible();
    value.serialize(&serializer).map_err(|error| JsError::new(&error.to_string()))
}
