//! A timeline of this process by thread: what ran when. Off unless [`start`] is called; a
//! [`span`] that is off costs one load.
//!
//! The format is Chrome's trace events, which Perfetto and `chrome://tracing` open: a process is a
//! rank, a thread a thread.

use serde_json::json;
use std::cell::OnceCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

/// Most spans that are kept; later ones are counted only. Some 100 bytes each in the file.
pub const MOST: usize = 500_000;

/// What tells spans of one name apart.
#[derive(Debug, Clone, Copy)]
enum Detail {
    None,
    /// Of a step, of a slice.
    Number(u64),
    /// The op of this name, differentiated.
    Gradient,
}

/// A stretch of time of one thread.
struct Event {
    name: &'static str,
    detail: Detail,
    start: Instant,
    end: Instant,
}

/// What one thread has done.
struct Thread {
    name: String,
    events: Mutex<Vec<Event>>,
}

/// All that has been recorded.
#[derive(Default)]
struct Timeline {
    threads: Mutex<Vec<Arc<Thread>>>,
    count: AtomicUsize,
}

static ON: AtomicBool = AtomicBool::new(false);
static ZERO: OnceLock<Instant> = OnceLock::new();
static TIMELINE: OnceLock<Timeline> = OnceLock::new();

thread_local! {
    static THREAD: OnceCell<Arc<Thread>> = const { OnceCell::new() };
}

/// Records from now on; the time of the first call is zero.
pub fn start() {
    ZERO.get_or_init(Instant::now);
    TIMELINE.get_or_init(Timeline::default);
    ON.store(true, Ordering::Release);
}

/// Time that passes until the value is dropped, if anything is recorded.
#[must_use]
pub struct Span(Option<Begun>);

struct Begun {
    name: &'static str,
    detail: Detail,
    start: Instant,
}

/// Begins a span of this thread.
pub fn span(name: &'static str) -> Span {
    begin(name, Detail::None)
}

/// Begins a span with a number: of a step, of a slice.
pub fn numbered(name: &'static str, number: u64) -> Span {
    begin(name, Detail::Number(number))
}

/// Begins the span in which an op is differentiated.
pub fn gradient_of(name: &'static str) -> Span {
    begin(name, Detail::Gradient)
}

fn begin(name: &'static str, detail: Detail) -> Span {
    let begun = || Begun {
        name,
        detail,
        start: Instant::now(),
    };
    Span(ON.load(Ordering::Acquire).then(begun))
}

impl Drop for Span {
    fn drop(&mut self) {
        let (Some(begun), Some(timeline)) = (self.0.take(), TIMELINE.get()) else {
            return;
        };
        if timeline.count.fetch_add(1, Ordering::Relaxed) >= MOST {
            return;
        }
        let event = Event {
            name: begun.name,
            detail: begun.detail,
            start: begun.start,
            end: Instant::now(),
        };
        THREAD.with(|thread| {
            let thread = thread.get_or_init(|| timeline.join());
            thread.events().push(event);
        });
    }
}

impl Thread {
    fn events(&self) -> std::sync::MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Timeline {
    fn threads(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Thread>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds this thread.
    fn join(&self) -> Arc<Thread> {
        let mut threads = self.threads();
        let name = std::thread::current().name().map(str::to_string);
        let thread = Arc::new(Thread {
            name: name.unwrap_or_else(|| format!("thread {}", threads.len())),
            events: Mutex::default(),
        });
        threads.push(thread.clone());
        thread
    }
}

/// What has been recorded so far.
pub struct Recorded {
    /// Trace events, one JSON object per line.
    pub events: String,
    /// Spans beyond [`MOST`], which are left out.
    pub left_out: usize,
}

/// Everything recorded so far, as events of the process `rank`.
pub fn recorded(rank: usize) -> Recorded {
    let (Some(timeline), Some(&zero)) = (TIMELINE.get(), ZERO.get()) else {
        return Recorded {
            events: String::new(),
            left_out: 0,
        };
    };
    let micros = |t: Instant| t.saturating_duration_since(zero).as_nanos() as f64 / 1e3;
    let about = |what, thread: usize, name: &str| json!({ "ph": "M", "name": what, "pid": rank, "tid": thread, "args": { "name": name } });
    let mut lines = vec![about("process_name", 0, &format!("rank {rank}")).to_string()];
    for (number, thread) in timeline.threads().iter().enumerate() {
        lines.push(about("thread_name", number, &thread.name).to_string());
        for e in thread.events().iter() {
            let mut line = json!({
                "ph": "X", "name": e.name, "pid": rank, "tid": number,
                "ts": micros(e.start), "dur": micros(e.end) - micros(e.start),
            });
            match e.detail {
                Detail::None => {}
                Detail::Number(n) => line["args"] = json!({ "number": n }),
                Detail::Gradient => line["name"] = json!(format!("{}, gradient", e.name)),
            }
            lines.push(line.to_string());
        }
    }
    Recorded {
        events: lines.join("\n"),
        left_out: timeline.count.load(Ordering::Relaxed).saturating_sub(MOST),
    }
}

/// Every trace file has this in its first line.
pub const MARK: &str = "holosig trace";

/// The text of a trace file, of the events of all ranks.
pub fn file(ranks: &[String]) -> String {
    let events: Vec<&str> = ranks.iter().flat_map(|events| events.lines()).collect();
    format!(
        "{{\"otherData\":{{\"content\":\"{MARK}\"}},\"traceEvents\":[\n{}\n]}}\n",
        events.join(",\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn spans_of_all_threads_are_in_the_file_and_lie_within_each_other() {
        drop(span("before"));
        start();
        let outer = numbered("outer", 7);
        drop(span("inner"));
        let there = std::thread::Builder::new().name("helper".into());
        let there = there.spawn(|| drop(span("elsewhere"))).unwrap();
        there.join().unwrap();
        drop(outer);
        let text = file(&[recorded(3).events, recorded(4).events]);
        let parsed: Value = serde_json::from_str(&text).unwrap();
        let events = parsed["traceEvents"].as_array().unwrap();
        let of = |name: &str| {
            let found = events.iter().find(|e| e["name"] == name && e["pid"] == 3);
            found.cloned().unwrap_or(Value::Null)
        };
        assert_eq!(of("before"), Value::Null);
        let time = |e: &Value| {
            let start = e["ts"].as_f64().unwrap();
            start..start + e["dur"].as_f64().unwrap()
        };
        let (outer, inner, elsewhere) = (of("outer"), of("inner"), of("elsewhere"));
        assert_eq!(outer["args"]["number"], 7);
        for within in [&inner, &elsewhere] {
            assert!(time(&outer).start <= time(within).start);
            assert!(time(within).end <= time(&outer).end);
        }
        assert_eq!(outer["tid"], inner["tid"]);
        let named = |e: &&Value| e["ph"] == "M" && e["args"]["name"] == "helper";
        let thread = events.iter().find(named).unwrap();
        assert_eq!(thread["tid"], elsewhere["tid"]);
    }
}
