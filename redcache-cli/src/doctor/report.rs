//! The report of the doctor, as text and as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::diagnosis::Diagnosis;
use super::facts::{Facts, Latency, NodeFacts, Tracking};
use crate::exit::Exit;

/// The content of the report.
pub(crate) struct Report<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) diagnosis: &'a Diagnosis,
    pub(crate) acl: &'a [String],
}

/// The width of the paragraph in columns.
const WIDTH: usize = 80;

impl Report<'_> {
    /// Return the report as text: one paragraph, then the details.
    pub(crate) fn text(&self) -> String {
        let Diagnosis { exit, summary, effects } = self.diagnosis;
        let mut text = wrap(summary);
        for effect in effects {
            let sign = if effect.works { "ok" } else { "limited" };
            let _ = write!(text, "\n\n{}: {sign}\n{}", effect.function, indent(&effect.text));
        }
        for node in &self.facts.nodes {
            text.push_str("\n\n");
            text.push_str(&node_text(node));
        }
        if *exit != Exit::Unreachable && *exit != Exit::WrongServer {
            text.push_str("\n\nPermissions of a login, with your user name and password:\n");
            for line in self.acl {
                let _ = writeln!(text, "  {line}");
            }
            text.truncate(text.trim_end().len());
        }
        let _ = write!(text, "\n\nresult: {} (exit status {})", exit.name(), exit.status());
        text
    }

    /// Return the report as one JSON object.
    pub(crate) fn json(&self) -> Value {
        let Diagnosis { exit, summary, effects } = self.diagnosis;
        let effects = effects.iter().map(|effect| {
            json!({ "function": effect.function, "works": effect.works, "text": effect.text })
        });
        json!({
            "result": exit.name(),
            "status": exit.status(),
            "summary": summary,
            "servers": self.facts.servers,
            "tls": self.facts.has_tls,
            "functions": effects.collect::<Vec<_>>(),
            "nodes": self.facts.nodes.iter().map(node_json).collect::<Vec<_>>(),
            "nodes_left_out": self.facts.left_out,
            "acl": self.acl,
        })
    }
}

fn node_text(node: &NodeFacts) -> String {
    let mut text = node.address.clone();
    match &node.greeting {
        Ok(greeting) => {
            let _ = write!(text, "\n  server      {}", greeting.describe());
        }
        Err(refused) => {
            let _ = write!(text, "\n  unavailable {}", refused.text);
            return text;
        }
    }
    if let Some(Latency { min, median, max, samples }) = &node.latency {
        let (min, median, max) = (ms(*min), ms(*median), ms(*max));
        let _ = write!(text, "\n  latency     {median} ms, {min} to {max} ms in {samples} PING");
    }
    let tracking = match &node.tracking {
        Tracking::Invalidated(after) => format!("invalidation after {} ms", ms(*after)),
        Tracking::Silent => "accepted, but no invalidation came".to_owned(),
        Tracking::Refused(refusal) => refusal.clone(),
        Tracking::NoResp3 => "needs RESP3".to_owned(),
        Tracking::NotProbed(reason) => format!("not probed: {reason}"),
    };
    let _ = write!(text, "\n  tracking    {tracking}");
    if let Some(memory) = &node.memory {
        let limit = match memory.limit {
            0 => "no limit".to_owned(),
            limit => format!("limit of {limit} bytes"),
        };
        let _ = write!(text, "\n  memory      {limit}, policy {}", memory.policy);
    }
    for tried in &node.commands {
        if let Some(refusal) = &tried.refusal {
            let _ = write!(text, "\n  refused     {}: {refusal}", tried.name);
        }
    }
    text
}

fn node_json(node: &NodeFacts) -> Value {
    let greeting = match &node.greeting {
        Ok(greeting) => json!({
            "program": greeting.program,
            "version": greeting.version,
            "mode": greeting.mode.name(),
            "replica": greeting.is_replica,
            "resp3": greeting.has_resp3,
        }),
        Err(refused) => json!({ "error": refused.text }),
    };
    let (tracked, after, why) = match &node.tracking {
        Tracking::Invalidated(after) => (true, json!(ms_number(*after)), Value::Null),
        Tracking::Silent => (false, Value::Null, json!("no invalidation came")),
        Tracking::Refused(refusal) => (false, Value::Null, json!(refusal)),
        Tracking::NoResp3 => (false, Value::Null, json!("the server has no RESP3")),
        Tracking::NotProbed(reason) => (false, Value::Null, json!(reason)),
    };
    let refused = node.commands.iter().filter_map(|tried| {
        Some(json!({ "command": tried.name, "refusal": tried.refusal.as_ref()? }))
    });
    json!({
        "address": node.address,
        "server": greeting,
        "tracked": tracked,
        "invalidation_ms": after,
        "untracked_reason": why,
        "latency_ms": node.latency.map(|latency| json!({
            "min": ms_number(latency.min),
            "median": ms_number(latency.median),
            "max": ms_number(latency.max),
        })),
        "maxmemory": node.memory.as_ref().map(|memory| memory.limit),
        "maxmemory_policy": node.memory.as_ref().map(|memory| memory.policy.clone()),
        "refused": refused.collect::<Vec<_>>(),
    })
}

fn ms(duration: Duration) -> String {
    format!("{:.2}", ms_number(duration))
}

fn ms_number(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn indent(text: &str) -> String {
    let lines = wrap_to(text, WIDTH - 2);
    lines.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

fn wrap(text: &str) -> String {
    wrap_to(text, WIDTH)
}

/// Break lines at spaces.
fn wrap_to(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::diagnosis::diagnose;
    use super::super::diagnosis::tests::good;
    use super::*;

    #[test]
    fn a_report_has_one_paragraph_and_the_details() {
        let mut facts = good();
        facts.nodes[0].tracking = Tracking::NoResp3;
        let diagnosis = diagnose(&facts);
        let acl = ["ACL SETUSER app on >PASSWORD".to_owned()];
        let report = Report { facts: &facts, diagnosis: &diagnosis, acl: &acl };
        let text = report.text();
        assert!(text.ends_with("result: limited (exit status 1)"), "{text}");
        assert!(text.contains("near cache: limited") && text.contains("ACL SETUSER"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        let json = report.json();
        assert_eq!(
            (json["status"].as_u64(), &json["nodes"][0]["tracked"]),
            (Some(1), &json!(false))
        );
        assert_eq!(json["acl"], json!(acl));
    }
}
