//! Records shown as Go's libraries print them.

use super::*;
use crate::proto::{
    topodata::{KeyRange, Keyspace, Shard, Tablet, TabletAlias, ThrottlerConfig, shard::TabletControl},
    vttime::Time,
};

fn shard() -> Vec<u8> {
    let control = TabletControl { tablet_type: 1, denied_tables: vec!["a".into(), "b\"c".into()], ..TabletControl::default() };
    let record = Shard {
        primary_alias: Some(TabletAlias { cell: "zone1".into(), uid: 200 }),
        primary_term_start_time: Some(Time { seconds: -5, nanoseconds: 7 }),
        key_range: Some(KeyRange { start: vec![], end: vec![0x80] }),
        tablet_controls: vec![control],
        is_primary_serving: true,
        vtorc_state: Some(crate::proto::vtorcdata::Shard::default()),
        ..Shard::default()
    };
    record.encode_to_vec()
}

#[test]
fn text_is_what_prototext_prints() {
    assert_eq!(
        show("keyspaces/ks/shards/-80/Shard", &shard(), Form::Text).unwrap(),
        r#"primary_alias:{cell:"zone1" uid:200} primary_term_start_time:{seconds:-5 nanoseconds:7} key_range:{end:"\x80"} tablet_controls:{tablet_type:PRIMARY denied_tables:"a" denied_tables:"b\"c"} is_primary_serving:true vtorc_state:{}"#
    );
    assert_eq!(show("Keyspace", &[], Form::Text).unwrap(), "");
    assert_eq!(show("metadata/key", b"any text", Form::Text).unwrap(), "any text");
}

#[test]
fn json_is_what_protojson_prints() {
    let want = r#"{
  "primary_alias": {
    "cell": "zone1",
    "uid": 200
  },
  "primary_term_start_time": {
    "seconds": "-5",
    "nanoseconds": 7
  },
  "key_range": {
    "end": "gA=="
  },
  "tablet_controls": [
    {
      "tablet_type": "PRIMARY",
      "denied_tables": [
        "a",
        "b\"c"
      ]
    }
  ],
  "is_primary_serving": true,
  "vtorc_state": {}
}"#;
    assert_eq!(show("Shard", &shard(), Form::Json).unwrap(), want);
    assert_eq!(show("Keyspace", &[], Form::Json).unwrap(), "{}");
    assert_eq!(show("metadata/key", b"x", Form::Json).unwrap_err(), "unknown topo protobuf type for key");
    let tablet = Tablet { port_map: BTreeMap::from([("vt".into(), 1), ("grpc".into(), 0)]), r#type: 99, ..Tablet::default() };
    let shown = show("Tablet", &tablet.encode_to_vec(), Form::Json).unwrap();
    assert_eq!(shown, "{\n  \"port_map\": {\n    \"grpc\": 0,\n    \"vt\": 1\n  },\n  \"type\": 99\n}");
    let config = ThrottlerConfig {
        threshold: 1.5,
        metric_thresholds: BTreeMap::from([("lag".into(), 5.0)]),
        ..ThrottlerConfig::default()
    };
    let keyspace = Keyspace { throttler_config: Some(config), ..Keyspace::default() };
    let shown = show("Keyspace", &keyspace.encode_to_vec(), Form::Text).unwrap();
    assert_eq!(shown, r#"throttler_config:{threshold:1.5 metric_thresholds:{key:"lag" value:5}}"#);
}

#[test]
fn records_that_are_none_are_errors() {
    for bytes in [&[0xff][..], &[0x0a, 5, 1], &[0x0b], &[0x0a, 2, 0x08], &[0x08, 1], &[0x3a, 0]] {
        assert!(show("Shard", bytes, Form::Json).is_err(), "{bytes:?}");
    }
    // Fields that nobody knows are not shown.
    assert_eq!(show("Shard", &[0x9a, 0x06, 1, b'x'], Form::Json).unwrap(), "{}");
}

/// The records of vschemas and rules, and what is none of them.
#[test]
fn a_record_is_shown_by_its_name() {
    use crate::proto::vschema;
    let keyspace = vschema::Keyspace { sharded: true, ..vschema::Keyspace::default() };
    let served = vschema::SrvVSchema { keyspaces: BTreeMap::from([("ks".into(), keyspace.clone())]), ..Default::default() };
    let table = vschema::RoutingRule { from_table: "a".into(), to_tables: vec!["ks.a".into()] };
    let moved = vschema::KeyspaceRoutingRule { from_keyspace: "a".into(), to_keyspace: "b".into() };
    let moved = vschema::KeyspaceRoutingRules { rules: vec![moved] }.encode_to_vec();
    let rules = vschema::RoutingRules { rules: vec![table] }.encode_to_vec();
    for (path, value, want) in [
        ("keyspaces/ks/VSchema", keyspace.encode_to_vec(), "sharded:true"),
        ("SrvVSchema", served.encode_to_vec(), r#"keyspaces:{key:"ks" value:{sharded:true}}"#),
        ("RoutingRules", rules, r#"rules:{from_table:"a" to_tables:"ks.a"}"#),
        ("ShardRoutingRules", Vec::new(), ""),
        ("MirrorRules", Vec::new(), ""),
        ("routing_rules/keyspace/Rules", moved.clone(), r#"rules:{from_keyspace:"a" to_keyspace:"b"}"#),
    ] {
        assert_eq!(show(path, &value, Form::Text).as_deref(), Ok(want), "{path}");
    }
    // Somebody else's file of this name.
    assert_eq!(show("metadata/Rules", &moved, Form::Text).unwrap().as_bytes(), moved);
    assert_eq!(show("metadata/Rules", &moved, Form::Json).unwrap_err(), "unknown topo protobuf type for Rules");
}

#[test]
fn what_is_not_printable_is_shown_in_hex() {
    let shown = |bytes: &[u8]| {
        let mut out = String::new();
        quoted(&mut out, bytes);
        out
    };
    assert_eq!(shown(b"\x00\x1f \x7f~\n\r\t\"\\"), r#""\x00\x1f \x7f~\n\r\t\"\\""#);
    assert_eq!(shown("é\u{80}".as_bytes()), "\"é\u{80}\"");
    assert_eq!(shown(b"\x80\xff"), r#""\x80\xff""#);
}

/// A message with a field of every kind that no record has today.
#[test]
fn packed_and_optional_fields_are_read_as_declared() {
    let field = |number: i32, label: Label, kind: Type, name: &str| FieldDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        label: Some(label.into()),
        r#type: Some(kind.into()),
        ..FieldDescriptorProto::default()
    };
    let optional = FieldDescriptorProto { proto3_optional: Some(true), ..field(6, Label::Optional, Type::Int32, "maybe") };
    let message = DescriptorProto {
        name: Some("M".into()),
        field: vec![
            field(1, Label::Repeated, Type::Int32, "numbers"),
            field(2, Label::Repeated, Type::Double, "doubles"),
            field(3, Label::Repeated, Type::Float, "floats"),
            field(4, Label::Repeated, Type::String, "texts"),
            field(5, Label::Optional, Type::Int32, "number"),
            optional,
            field(7, Label::Repeated, Type::Fixed64, "wide"),
            field(8, Label::Repeated, Type::Sfixed32, "narrow"),
        ],
        ..DescriptorProto::default()
    };
    let file = prost_types::FileDescriptorProto {
        package: Some("p".into()),
        message_type: vec![message],
        ..prost_types::FileDescriptorProto::default()
    };
    let set = FileDescriptorSet { file: vec![file] };
    let shown = |bytes: &[u8]| {
        let mut out = String::new();
        text(&mut out, &Types::new(&set).message(".p.M", bytes)?);
        Ok::<_, String>(out)
    };
    let packed = |field: u8, content: &[u8]| {
        let mut out = vec![field << 3 | 2, u8::try_from(content.len()).unwrap()];
        out.extend_from_slice(content);
        out
    };
    let doubles = [1.5_f64.to_le_bytes(), (-2.0_f64).to_le_bytes()].concat();
    let floats = [0.5_f32.to_le_bytes(), 3.0_f32.to_le_bytes()].concat();
    let wide = [u64::MAX.to_le_bytes(), 258_u64.to_le_bytes()].concat();
    for (bytes, want) in [
        (packed(1, &[1, 0x80, 1, 0]), "numbers:1 numbers:128 numbers:0"),
        (vec![1 << 3, 5, 1 << 3, 6], "numbers:5 numbers:6"),
        (packed(2, &doubles), "doubles:1.5 doubles:-2"),
        (packed(3, &floats), "floats:0.5 floats:3"),
        (packed(4, b"ab"), r#"texts:"ab""#),
        (packed(7, &wide), "wide:18446744073709551615 wide:258"),
        (packed(8, &(-7_i32).to_le_bytes()), "narrow:-7"),
        (vec![5 << 3, 0], ""),
        (vec![6 << 3, 0], "maybe:0"),
        (vec![5 << 3, 1, 5 << 3, 2], "number:2"),
    ] {
        assert_eq!(shown(&bytes).as_deref(), Ok(want), "{bytes:?}");
    }
    for bytes in [packed(2, &doubles[..9]), packed(3, &floats[..5]), packed(1, &[0x80])] {
        assert_eq!(shown(&bytes).unwrap_err(), "unexpected EOF", "{bytes:?}");
    }
}
