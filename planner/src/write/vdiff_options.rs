//! What a new `VDiff` compares, and how: from a client's request to the options that tablets store.
//!
//! Facts: `go/vt/vtctl/workflow/vdiff.go`, `server.go:VDiffCreate`; `go/cmd/vtctldclient/command/vreplication/vdiff`, which alone checks
//! numbers. `go/vt/vttablet/tabletmanager/vdiff/action.go` has the stored form.

use crate::{
    contract::{Code, Status},
    proto::{
        tabletmanagerdata::{TabletSelectionPreference, VDiffCoreOptions, VDiffOptions, VDiffPickerOptions, VDiffReportOptions},
        topodata::TabletType,
        vtctldata::VDiffCreateRequest,
        vttime::Duration,
    },
};

/// Seconds that a tablet waits for the streams to get to a position, where the request does not say.
const WAIT_SECONDS: i64 = 30;

/// The options of a request.
///
/// # Errors
/// A number that means nothing: tablets take it, and compare nothing, or fail later.
pub(super) fn options(request: &VDiffCreateRequest) -> Result<VDiffOptions, Status> {
    let refused = |text: &str| Err(Status { code: Code::InvalidArgument, message: text.into() });
    let VDiffCreateRequest { limit, max_extra_rows_to_compare, max_report_sample_rows, .. } = *request;
    if limit < 0 {
        return refused("limit must be a positive value");
    }
    if max_extra_rows_to_compare < 0 {
        return refused("max_extra_rows_to_compare must not be a negative value");
    }
    if max_report_sample_rows < 0 {
        return refused("max_report_sample_rows must not be a negative value");
    }
    let timeout_seconds = match &request.filtered_replication_wait_time {
        None => WAIT_SECONDS,
        Some(wait) => match seconds(wait) {
            Some(seconds) if seconds > 0 => seconds,
            _ => return refused("filtered_replication_wait_time must be one second or longer"),
        },
    };
    let max_diff_seconds = match &request.max_diff_duration {
        None => 0,
        Some(most) => match seconds(most) {
            Some(seconds) => seconds,
            None => return refused("max_diff_duration must be zero, for no limit, or one second or longer"),
        },
    };
    let in_order = request.tablet_selection_preference == TabletSelectionPreference::Inorder as i32;
    let name = |&number: &i32| {
        TabletType::try_from(number).map_or_else(|_| number.to_string(), |kind| kind.as_str_name().to_lowercase())
    };
    let types: Vec<String> = request.tablet_types.iter().map(name).collect();
    Ok(VDiffOptions {
        picker_options: Some(VDiffPickerOptions {
            tablet_types: format!("{}{}", if in_order { "in_order:" } else { "" }, types.join(",")),
            source_cell: request.source_cells.join(","),
            target_cell: request.target_cells.join(","),
        }),
        core_options: Some(VDiffCoreOptions {
            tables: request.tables.join(","),
            auto_retry: request.auto_retry,
            max_rows: if limit == 0 { i64::MAX } else { limit },
            timeout_seconds,
            max_extra_rows_to_compare,
            update_table_stats: request.update_table_stats,
            max_diff_seconds,
            auto_start: Some(request.auto_start.unwrap_or(true)),
            ..VDiffCoreOptions::default()
        }),
        report_options: Some(VDiffReportOptions {
            only_pks: request.only_p_ks,
            debug_query: request.debug_query,
            max_sample_rows: max_report_sample_rows,
            row_diff_column_truncate_at: request.row_diff_column_truncate_at,
            ..VDiffReportOptions::default()
        }),
    })
}

/// Whole seconds, as tablets count; `None` for what they would count as another length: less than nothing, or a part of a second as
/// nothing.
fn seconds(duration: &Duration) -> Option<i64> {
    match (duration.seconds, duration.nanos) {
        (0, 0) => Some(0),
        (seconds, nanos) if seconds > 0 && nanos >= 0 => Some(seconds),
        _ => None,
    }
}

/// The options as the column has them before a tablet fills in its cells: zero values are left out.
pub(super) fn json(options: &VDiffOptions) -> String {
    let mut parts = Vec::new();
    let mut part = |name: &str, fields: &[(&str, Option<String>)]| {
        let fields: Vec<String> =
            fields.iter().filter_map(|(name, value)| Some(format!("\"{name}\":{}", value.as_ref()?))).collect();
        parts.push(format!("\"{name}\":{{{}}}", fields.join(",")));
    };
    let text = |text: &str| (!text.is_empty()).then(|| serde_json::Value::from(text).to_string());
    let number = |number: i64| (number != 0).then(|| number.to_string());
    let flag = |is_set: bool| is_set.then(|| "true".to_owned());
    if let Some(VDiffPickerOptions { tablet_types, source_cell, target_cell }) = &options.picker_options {
        let fields =
            [("tablet_types", text(tablet_types)), ("source_cell", text(source_cell)), ("target_cell", text(target_cell))];
        part("picker_options", &fields);
    }
    if let Some(core) = &options.core_options {
        let fields = [
            ("tables", text(&core.tables)),
            ("auto_retry", flag(core.auto_retry)),
            ("max_rows", number(core.max_rows)),
            ("timeout_seconds", number(core.timeout_seconds)),
            ("max_extra_rows_to_compare", number(core.max_extra_rows_to_compare)),
            ("update_table_stats", flag(core.update_table_stats)),
            ("max_diff_seconds", number(core.max_diff_seconds)),
            ("auto_start", core.auto_start.map(|starts| starts.to_string())),
        ];
        part("core_options", &fields);
    }
    if let Some(report) = &options.report_options {
        let fields = [
            ("only_pks", flag(report.only_pks)),
            ("debug_query", flag(report.debug_query)),
            ("max_sample_rows", number(report.max_sample_rows)),
            ("row_diff_column_truncate_at", number(report.row_diff_column_truncate_at)),
        ];
        part("report_options", &fields);
    }
    format!("{{{}}}", parts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(seconds: i64, nanos: i32) -> Duration {
        Duration { seconds, nanos }
    }

    #[test]
    fn what_a_client_leaves_out_has_the_servers_defaults() {
        let options = options(&VDiffCreateRequest::default()).unwrap();
        assert_eq!(
            json(&options),
            r#"{"picker_options":{},"core_options":{"max_rows":9223372036854775807,"timeout_seconds":30,"auto_start":true},"report_options":{}}"#
        );
    }

    #[test]
    fn the_stored_form_is_that_of_vtctldclient() {
        let request = VDiffCreateRequest {
            tablet_types: vec![3, 2, 1],
            tablet_selection_preference: 1,
            source_cells: vec!["zone1".into()],
            target_cells: vec!["zone1".into(), "zone2".into()],
            tables: vec!["a\"b".into(), "c".into()],
            limit: 5,
            filtered_replication_wait_time: Some(wait(40, 9)),
            max_extra_rows_to_compare: 1000,
            auto_retry: true,
            update_table_stats: true,
            debug_query: true,
            only_p_ks: true,
            max_report_sample_rows: 10,
            max_diff_duration: Some(wait(60, 0)),
            row_diff_column_truncate_at: 128,
            auto_start: Some(false),
            ..VDiffCreateRequest::default()
        };
        assert_eq!(
            json(&options(&request).unwrap()),
            r#"{"picker_options":{"tablet_types":"in_order:rdonly,replica,primary","source_cell":"zone1","target_cell":"zone1,zone2"},"core_options":{"tables":"a\"b,c","auto_retry":true,"max_rows":5,"timeout_seconds":40,"max_extra_rows_to_compare":1000,"update_table_stats":true,"max_diff_seconds":60,"auto_start":false},"report_options":{"only_pks":true,"debug_query":true,"max_sample_rows":10,"row_diff_column_truncate_at":128}}"#
        );
    }

    #[test]
    fn numbers_that_mean_nothing_are_refused() {
        let all = VDiffCreateRequest::default;
        for (request, part) in [
            (VDiffCreateRequest { limit: -1, ..all() }, "limit must be"),
            (VDiffCreateRequest { max_extra_rows_to_compare: -1, ..all() }, "max_extra_rows_to_compare must not"),
            (VDiffCreateRequest { max_report_sample_rows: -1, ..all() }, "max_report_sample_rows must not"),
            (VDiffCreateRequest { filtered_replication_wait_time: Some(wait(0, 0)), ..all() }, "filtered_replication_wait_time"),
            (VDiffCreateRequest { filtered_replication_wait_time: Some(wait(0, 500_000_000)), ..all() }, "one second or longer"),
            (VDiffCreateRequest { filtered_replication_wait_time: Some(wait(-5, 0)), ..all() }, "one second or longer"),
            (VDiffCreateRequest { max_diff_duration: Some(wait(0, 1)), ..all() }, "max_diff_duration"),
            (VDiffCreateRequest { max_diff_duration: Some(wait(-1, 0)), ..all() }, "max_diff_duration"),
        ] {
            let status = options(&request).unwrap_err();
            assert!(status.code == Code::InvalidArgument && status.message.contains(part), "{request:?}: {status:?}");
        }
        let request = VDiffCreateRequest { max_diff_duration: Some(wait(0, 0)), ..all() };
        assert_eq!(options(&request).unwrap().core_options.unwrap().max_diff_seconds, 0, "no limit, as clients send it");
    }
}
