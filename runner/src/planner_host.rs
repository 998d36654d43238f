//! Which planner decides: the one that was linked in, or one in wasmtime that was not.

use std::{ffi::OsStr, path::PathBuf, str::FromStr};

use vtflow_component::{Limits, Planner as Component};
use vtflow_files::given_file;
use vtflow_planner::{Ask, Call, Failure, Flow, FlowHandle, Timestamp, explain::Plan, trace::Planner as Build};

/// The planner as a component, compressed (RFC 1950), if `cargo xtask component` had built it when this program was built.
const EMBEDDED: Option<&[u8]> = include!(concat!(env!("OUT_DIR"), "/planner.rs"));

/// Which planner to run, as `--planner` has it: `native`, `wasm` or `wasm=FILE`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PlannerChoice {
    /// The one that is linked in.
    #[default]
    Native,
    /// The component in this program.
    Embedded,
    /// The component in a file.
    File(PathBuf),
}

impl FromStr for PlannerChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "native" => Ok(Self::Native),
            None if text == "wasm" => Ok(Self::Embedded),
            Some(("wasm", file)) if !file.is_empty() => Ok(Self::File(file.into())),
            _ => Err("there are native, wasm and wasm=FILE".to_owned()),
        }
    }
}

impl PlannerChoice {
    /// As [`str::parse`], of a file name of any bytes.
    ///
    /// # Errors
    /// A text that says what there is.
    pub fn read(text: &OsStr) -> Result<Self, String> {
        if let Some(text) = text.to_str() {
            return text.parse();
        }
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt;
            if let Some(file) = text.as_bytes().strip_prefix(b"wasm=") {
                return Ok(Self::File(OsStr::from_bytes(file).into()));
            }
        }
        Err("there are native, wasm and wasm=FILE".to_owned())
    }
}

/// A planner, ready to run. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub enum PlannerHost {
    /// Linked in: fast.
    #[default]
    Native,
    /// In wasmtime, with limits: a planner of another build.
    Wasm(Box<Component>),
}

impl PlannerHost {
    /// The chosen one. A component takes about a second to compile.
    ///
    /// # Errors
    /// The text that says which file cannot be read or run and why, or that no component is embedded.
    pub fn load(choice: &PlannerChoice) -> Result<Self, String> {
        let component = match choice {
            PlannerChoice::Native => return Ok(Self::Native),
            PlannerChoice::Embedded => {
                let bytes = EMBEDDED.ok_or(
                    "this program was built without the planner as a component: `make component` before it builds it in, or \
                     give its file as --planner wasm=FILE",
                )?;
                let bytes =
                    miniz_oxide::inflate::decompress_to_vec_zlib(bytes).map_err(|error| format!("planner.wasm: {error}"))?;
                Component::new("planner.wasm", &bytes, Limits::default())
            }
            PlannerChoice::File(path) => {
                let name = path.display().to_string();
                let bytes = given_file::read(path, given_file::PLANNER_BYTES)
                    .map_err(|error| format!("the planner {name} cannot be read: {error}"))?;
                Component::new(&name, &bytes, Limits::default())
            }
        };
        component.map(|component| Self::Wasm(Box::new(component))).map_err(|error| error.to_string())
    }

    /// Begins a request, as [`Flow::start`].
    pub fn start(&self, call: &Call, now: Timestamp) -> Box<dyn FlowHandle> {
        match self {
            Self::Native => Box::new(Flow::start(call, now)),
            Self::Wasm(component) => Box::new(component.start(call, now)),
        }
    }

    /// A plan of these asks, as [`Plan::new`].
    ///
    /// # Errors
    /// A component's trap.
    pub fn explain(&self, rpc: &str, asks: &[Ask], failures: Vec<Failure>) -> Result<Plan, String> {
        match self {
            Self::Native => Ok(Plan::new(rpc, asks, failures)),
            Self::Wasm(component) => component.explain(rpc, asks, &failures),
        }
    }

    /// Which planner it is.
    pub fn build(&self) -> Build {
        match self {
            Self::Native => Build::this(),
            Self::Wasm(component) => component.build().clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_or_refused() {
        assert_eq!("native".parse(), Ok(PlannerChoice::Native));
        assert_eq!("wasm".parse(), Ok(PlannerChoice::Embedded));
        assert_eq!("wasm=a=b.wasm".parse(), Ok(PlannerChoice::File("a=b.wasm".into())));
        for other in ["", "wasm=", "native=x", "Wasm"] {
            assert!(other.parse::<PlannerChoice>().is_err(), "{other}");
        }
    }
}
