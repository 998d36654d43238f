//! The requests that the page builds: plain fields in, a call of the planner out.

use vtflow_planner::{CallOptions, Mode, request::Request};
use wasm_bindgen::prelude::*;

use crate::{read, write};

/// The planner's call for a request of the page. Writes are previews: a page changes nothing.
///
/// # Errors
/// A request of another form: which field is wrong.
#[wasm_bindgen(unchecked_return_type = "Call")]
pub fn call(#[wasm_bindgen(unchecked_param_type = "Request")] request: JsValue) -> Result<JsValue, JsError> {
    let request: Request = read("request", request)?;
    let mode = match request {
        Request::Update { .. } | Request::Delete { .. } | Request::Traffic { .. } | Request::Migration { .. } => Mode::Preview,
        Request::Workflows { .. }
        | Request::Migrations { .. }
        | Request::Shards { .. }
        | Request::Diagnosis { .. }
        | Request::Vexec { .. } => Mode::Perform,
    };
    write(&request.call(CallOptions { mode, ..CallOptions::default() }))
}
