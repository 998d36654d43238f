//! gRPC reflection, `v1` and `v1alpha`: what `grpcurl` needs to call vtflow without being given any `.proto`.
//!
//! The planner's messages are a subset of Vitess's and it has no services, so the services are described here, from the list
//! of what is served. With `--forward-to` this is not used: the vtctld's own answer is complete.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

use http::{Request, Response};
use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto};
use tonic::body::Body;
use tonic_reflection::server::{Builder, Error};
use tower::{ServiceExt, util::BoxCloneSyncService};
use vtflow_planner::{DESCRIPTORS, serve};

type Answering = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// Both versions of the service.
pub(crate) struct Reflection {
    v1: Answering,
    v1alpha: Answering,
}

impl Reflection {
    /// # Errors
    /// The planner's descriptors contradict each other: a defect.
    pub(crate) fn new() -> Result<Self, Error> {
        let files = files()?;
        let builder = || Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS);
        let v1 = builder().register_file_descriptor_set(files.clone()).build_v1()?;
        let v1alpha = builder().register_file_descriptor_set(files).build_v1alpha()?;
        Ok(Self { v1: BoxCloneSyncService::new(v1), v1alpha: BoxCloneSyncService::new(v1alpha) })
    }

    /// Whether the path is one of reflection's.
    pub(crate) fn is_for(path: &str) -> bool {
        path.starts_with("/grpc.reflection.v1.") || path.starts_with("/grpc.reflection.v1alpha.")
    }

    pub(crate) async fn call(&self, request: Request<Body>) -> Response<Body> {
        let service = if request.uri().path().starts_with("/grpc.reflection.v1.") { &self.v1 } else { &self.v1alpha };
        match service.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// The services with the methods that are served, a file for each package: Vitess's, and our own.
fn files() -> Result<FileDescriptorSet, Error> {
    let known = FileDescriptorSet::decode(DESCRIPTORS)?;
    let of = |service: &str, messages: &str, file: &str| services(&known, service, messages, file);
    Ok(FileDescriptorSet {
        file: vec![of("vtctlservice", "vtctldata", "vtctlservice.proto"), of("vtflow", "vtflow", "vtflowservice.proto")],
    })
}

/// The services of one package, whose methods' messages are of another.
fn services(known: &FileDescriptorSet, package: &str, of_messages: &str, name: &str) -> FileDescriptorProto {
    let messages: BTreeSet<String> = known
        .file
        .iter()
        .filter(|file| file.package() == of_messages)
        .flat_map(|file| file.message_type.iter().map(|message| message.name().to_owned()))
        .collect();
    let mut services: BTreeMap<String, Vec<MethodDescriptorProto>> = BTreeMap::new();
    for served in serve::SERVED {
        let Some((service, method)) = served.path.strip_prefix('/').and_then(|path| path.split_once('/')) else { continue };
        let Some(service) = service.strip_prefix(package).and_then(|service| service.strip_prefix('.')) else { continue };
        let (input, output) = (format!("{method}Request"), format!("{method}Response"));
        // A name that nobody can look up would make clients refuse the whole file.
        if !messages.contains(&input) || !messages.contains(&output) {
            continue;
        }
        services.entry(service.to_owned()).or_default().push(MethodDescriptorProto {
            name: Some(method.to_owned()),
            input_type: Some(format!(".{of_messages}.{input}")),
            output_type: Some(format!(".{of_messages}.{output}")),
            server_streaming: served.streams.then_some(true),
            ..MethodDescriptorProto::default()
        });
    }
    let service = services.into_iter().map(|(name, method)| ServiceDescriptorProto {
        name: Some(name),
        method,
        ..ServiceDescriptorProto::default()
    });
    FileDescriptorProto {
        name: Some(name.to_owned()),
        package: Some(package.to_owned()),
        dependency: vec![format!("{of_messages}.proto")],
        service: service.collect(),
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    }
}
