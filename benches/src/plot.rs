//! Bar charts of a whole table: one SVG per workload, one panel per row.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::Path;

use crate::Failure;
use crate::cli::{Peer, Workload};
use crate::plan::Row;
use crate::table::{Metric, Results, Summary};
use crate::versions::Versions;

const WIDTH: f64 = 820.0;
const MARGIN: f64 = 20.0;
const LABELS: f64 = 170.0;
const BARS: f64 = 520.0;
const BAR: f64 = 16.0;
const LINE: f64 = 24.0;
const HEAD: f64 = 72.0;
const PANEL_HEAD: f64 = 40.0;
const PANEL_FOOT: f64 = 30.0;
const FOOT: f64 = 72.0;
const INK: &str = "#24292f";
const FAINT: &str = "#6e7781";
const GRID: &str = "#d8dee4";

/// Kind of the peer of a bar, which determines its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Redcache,
    NearCacheClient,
    PlainClient,
    InProcess,
}

impl Kind {
    const ALL: [Self; 4] =
        [Self::Redcache, Self::NearCacheClient, Self::PlainClient, Self::InProcess];

    fn of(peer: Peer) -> Self {
        match peer {
            Peer::RedcacheTokio
            | Peer::RedcacheAsyncStd
            | Peer::RedcacheSmol
            | Peer::RedcacheBlocking => Self::Redcache,
            Peer::RedisRsCache | Peer::RustisCache => Self::NearCacheClient,
            Peer::RedisRs | Peer::RedisRsSync | Peer::Fred => Self::PlainClient,
            Peer::Moka | Peer::QuickCache => Self::InProcess,
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Redcache => "#0a7d6c",
            Self::NearCacheClient => "#c2700a",
            Self::PlainClient => "#5a7fb0",
            Self::InProcess => "#8a8f98",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Redcache => "redcache",
            Self::NearCacheClient => "client with client-side cache",
            Self::PlainClient => "client without cache",
            Self::InProcess => "in-process cache, no Redis",
        }
    }
}

/// Write `WORKLOAD.svg` into the folder for every measured workload.
///
/// # Errors
///
/// Fails if the folder or a file cannot be written.
pub fn write(results: &Results, folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|why| format!("cannot make {}: {why}", folder.display()))?;
    for workload in Workload::ALL {
        let Some(svg) = chart(results, *workload)? else {
            continue;
        };
        let file = folder.join(format!("{workload}.svg"));
        fs::write(&file, svg).map_err(|why| format!("cannot write {}: {why}", file.display()))?;
    }
    Ok(())
}

/// One panel, ready to draw.
struct Panel {
    row: Row,
    metric: Metric,
    bars: Vec<(Peer, Summary)>,
}

impl Panel {
    fn new(results: &Results, row: Row) -> Option<Self> {
        let metric = Metric::of(row);
        let bar = |peer| Some((peer, results.summary(row, peer, metric)?));
        // redcache is on top, followed by other peers in the order of the table.
        let mut peers = row.peers();
        peers.sort_by_key(|peer| Kind::of(*peer) != Kind::Redcache);
        let bars: Vec<_> = peers.into_iter().filter_map(bar).collect();
        (!bars.is_empty()).then_some(Self { row, metric, bars })
    }

    fn height(&self) -> f64 {
        PANEL_HEAD + self.bars.len() as f64 * LINE + PANEL_FOOT
    }

    fn draw(&self, top: f64, svg: &mut String) -> fmt::Result {
        let (unit, per) = self.metric.unit();
        let (what, direction) = match self.metric {
            Metric::Ops => ("thousand calls per second", "more is better"),
            Metric::Nanos => ("nanoseconds per call", "less is better"),
            Metric::Median => ("microseconds per call, median", "less is better"),
            Metric::Loads => ("loads", "less is better"),
            Metric::Added => ("milliseconds beyond the loader", "less is better"),
            Metric::Server => ("microseconds of the server per key", "less is better"),
        };
        let left = MARGIN + LABELS;
        let widest = self.bars.iter().map(|(_, bar)| bar.best.max(bar.median) / per);
        let scale = Scale::up_to(widest.fold(0.0, f64::max));
        text(svg, MARGIN, top + 22.0, "start", (14, INK, "600"), self.row.name())?;
        let about = format!("{what} ({direction})");
        text(svg, left + BARS, top + 22.0, "end", (12, FAINT, "400"), &about)?;
        let first = top + PANEL_HEAD;
        let last = first + self.bars.len() as f64 * LINE;
        for mark in scale.marks() {
            let x = left + scale.x(mark);
            write!(svg, r#"<path d="M{x:.1} {:.1}V{last:.1}" stroke="{GRID}"/>"#, first - 4.0)?;
            let number = if mark == 0.0 { format!("0 {unit}") } else { short(mark) };
            text(svg, x, last + 15.0, "middle", (11, FAINT, "400"), &number)?;
        }
        for (index, (peer, bar)) in self.bars.iter().enumerate() {
            let y = first + index as f64 * LINE;
            let best = scale.x(bar.best / per);
            let median = left + scale.x(bar.median / per);
            text(svg, left - 8.0, y + 13.0, "end", (12, INK, "400"), peer.name())?;
            write!(
                svg,
                r#"<rect x="{left}" y="{y:.1}" width="{best:.1}" height="{BAR}" fill="{}"/>"#,
                Kind::of(*peer).colour()
            )?;
            write!(
                svg,
                r#"<path d="M{median:.1} {:.1}v{}" stroke="{INK}" stroke-width="2"/>"#,
                y - 2.0,
                BAR + 4.0
            )?;
            let label = match (short(bar.best / per), short(bar.median / per)) {
                (best, median) if best == median => best,
                (best, median) => format!("{best} ({median})"),
            };
            let end = (left + best).max(median) + 6.0;
            text(svg, end, y + 13.0, "start", (12, INK, "400"), &label)?;
        }
        svg.push('\n');
        Ok(())
    }
}

/// A linear axis from zero, with round numbers on it.
#[derive(Clone, Copy, Debug)]
struct Scale {
    max: f64,
    step: f64,
}

impl Scale {
    fn up_to(max: f64) -> Self {
        let max = if max > 0.0 { max } else { 1.0 };
        let rough = max / 5.0;
        let decade = 10f64.powf(rough.log10().floor());
        let factors = [1.0, 2.0, 5.0, 10.0];
        let factor = factors.into_iter().find(|factor| factor * decade >= rough).unwrap_or(10.0);
        Self { max, step: factor * decade }
    }

    fn x(self, value: f64) -> f64 {
        BARS * value / self.max
    }

    fn marks(self) -> impl Iterator<Item = f64> {
        (0..=5)
            .map(move |mark| f64::from(mark) * self.step)
            .take_while(move |mark| *mark <= self.max)
    }
}

fn chart(results: &Results, workload: Workload) -> Result<Option<String>, fmt::Error> {
    let rows = Row::ALL.iter().filter(|row| row.workload() == workload);
    let panels: Vec<_> = rows.filter_map(|row| Panel::new(results, *row)).collect();
    if panels.is_empty() {
        return Ok(None);
    }
    let height = HEAD + panels.iter().map(Panel::height).sum::<f64>() + FOOT;
    let mut svg = String::new();
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-family="system-ui, 'DejaVu Sans', sans-serif">"#
    )?;
    writeln!(svg, r##"<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>"##)?;
    text(&mut svg, MARGIN, 32.0, "start", (20, INK, "600"), workload.name())?;
    text(&mut svg, MARGIN, 54.0, "start", (13, FAINT, "400"), meaning(workload))?;
    svg.push('\n');
    let mut top = HEAD;
    for panel in &panels {
        panel.draw(top, &mut svg)?;
        top += panel.height();
    }
    legend(&panels, top, &mut svg)?;
    svg.push_str("</svg>\n");
    Ok(Some(svg))
}

fn meaning(workload: Workload) -> &'static str {
    match workload {
        Workload::LocalHit => "reading keys that are in the process",
        Workload::RemoteHit => "reading keys that are in Redis and not in the process",
        Workload::ColdMiss => "reading keys that are nowhere, with a loader that answers at once",
        Workload::LocalMulti => "reading 100 keys in one call, all in the process",
        Workload::RemoteMulti => "reading 100 keys in one call, all in Redis",
        Workload::ColdMulti => "reading 100 keys in one call, none anywhere",
        Workload::Stampede => {
            "1000 callers at once of one missing key: what the last waits beyond the loader"
        }
    }
}

fn legend(panels: &[Panel], top: f64, svg: &mut String) -> fmt::Result {
    let shown = |kind: &Kind| {
        let mut bars = panels.iter().flat_map(|panel| &panel.bars);
        bars.any(|(peer, _)| Kind::of(*peer) == *kind)
    };
    let mut x = MARGIN;
    for kind in Kind::ALL.into_iter().filter(shown) {
        let y = top + 2.0;
        write!(svg, r#"<rect x="{x}" y="{y}" width="12" height="12" fill="{}"/>"#, kind.colour())?;
        text(svg, x + 17.0, top + 12.0, "start", (12, INK, "400"), kind.label())?;
        x += 40.0 + 6.6 * kind.label().len() as f64;
    }
    let next = top + 26.0;
    write!(
        svg,
        r#"<path d="M{} {}v16" stroke="{INK}" stroke-width="2"/>"#,
        MARGIN + 6.0,
        next - 2.0
    )?;
    let about = "bar and number: best round; line and (number): median round";
    text(svg, MARGIN + 17.0, next + 10.0, "start", (12, INK, "400"), about)?;
    text(svg, MARGIN, top + 58.0, "start", (11, FAINT, "400"), &Versions.to_string())?;
    svg.push('\n');
    Ok(())
}

fn text(
    svg: &mut String,
    x: f64,
    y: f64,
    anchor: &str,
    (size, colour, weight): (u32, &str, &str),
    words: &str,
) -> fmt::Result {
    write!(
        svg,
        r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" fill="{colour}">{words}</text>"#
    )
}

/// Format a value with its three significant digits.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_round_marks_within_its_range() {
        for (max, expected) in [
            (97.0, vec![0.0, 20.0, 40.0, 60.0, 80.0]),
            (5.0, vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
            (420.0, vec![0.0, 100.0, 200.0, 300.0, 400.0]),
        ] {
            assert_eq!(Scale::up_to(max).marks().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn an_axis_without_values_still_has_a_range() {
        assert_eq!(Scale::up_to(0.0).x(1.0), BARS);
    }

    #[test]
    fn a_workload_that_was_not_measured_has_no_chart() {
        assert!(chart(&Results::default(), Workload::ColdMiss).unwrap().is_none());
    }

    #[test]
    fn a_chart_names_every_peer_that_was_measured() {
        let line = concat!(
            r#"{"workload":"stampede","peer":"moka","tasks":1,"ops":1,"ops_per_s":1.0,"ns_per_op":1.0,"#,
            r#""p50_us":1.0,"p99_us":1.0,"p999_us":1.0,"loads":1,"keys":1,"batch":1,"value":64,"#,
            r#""commands":0,"server_us":0,"peak_kib":0,"added_us":1234.0,"round":1}"#,
        );
        let mut results = Results::default();
        results.add(Row::Stampede, line.parse().unwrap());
        let svg = chart(&results, Workload::Stampede).unwrap().unwrap();
        assert!(svg.contains(">moka</text>") && svg.contains(">1.23</text>"));
        assert!(!svg.contains(">quick-cache</text>"));
    }
}
