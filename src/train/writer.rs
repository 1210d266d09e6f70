//! Writes checkpoints in the background, so that training waits only for a copy in memory.

use super::RunFolder;
use super::checkpoint::Layout;
use crate::{Error, Result, trace};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A checkpoint that has reached the disk.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    pub step: u64,
    pub bytes: u64,
    /// How long it took in the background.
    pub took: Duration,
}

struct Job {
    layout: Layout,
    values: Inbox,
    step: u64,
    best: bool,
}

/// Takes the numbers of a checkpoint, in the order of its [`Layout`].
pub struct Feed(SyncSender<Vec<f32>>);

impl Feed {
    /// Waits as long as too many values are under way. A writer that has failed takes no more,
    /// and tells why when it is asked.
    pub fn push(&self, values: Vec<f32>) {
        let _ = self.0.send(values);
    }
}

/// The other end of a [`Feed`].
struct Inbox {
    coming: Receiver<Vec<f32>>,
    current: Vec<f32>,
    /// Values of `current` that are taken already.
    taken: usize,
}

impl Inbox {
    /// The next `n` values.
    fn take(&mut self, n: usize) -> Result<Vec<f32>> {
        let mut out = Vec::with_capacity(n);
        while out.len() < n {
            if self.taken == self.current.len() {
                let gone = |_| Error::internal("the run ended before its checkpoint was complete");
                self.current = self.coming.recv().map_err(gone)?;
                self.taken = 0;
            }
            let rest = &self.current[self.taken..];
            let rest = &rest[..rest.len().min(n - out.len())];
            out.extend_from_slice(rest);
            self.taken += rest.len();
        }
        Ok(out)
    }
}

/// The thread that writes; at most one checkpoint is under way.
pub struct Writer {
    jobs: Option<Sender<Job>>,
    done: Receiver<Result<Written>>,
    thread: Option<JoinHandle<()>>,
    busy: bool,
}

impl Writer {
    /// # Errors
    /// The system has no thread left.
    pub fn start(folder: RunFolder, keep: usize) -> Result<Self> {
        let (jobs, inbox) = channel::<Job>();
        let (outbox, done) = channel();
        let work = move || {
            for job in inbox {
                if outbox.send(write(&folder, job, keep)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("checkpoint".into())
            .spawn(work)
            .map_err(|e| Error::internal(format!("no thread to write checkpoints: {e}")))?;
        Ok(Self {
            jobs: Some(jobs),
            done,
            thread: Some(thread),
            busy: false,
        })
    }

    /// Begins a checkpoint whose numbers the [`Feed`] takes, `in_flight` vectors of them at a
    /// time; waits for the one before, which it returns.
    ///
    /// # Errors
    /// Those of the checkpoint before.
    pub fn submit(
        &mut self,
        layout: Layout,
        step: u64,
        best: bool,
        in_flight: usize,
    ) -> Result<(Option<Written>, Feed)> {
        let before = self.wait()?;
        let (feed, coming) = sync_channel(in_flight);
        let values = Inbox {
            coming,
            current: Vec::new(),
            taken: 0,
        };
        let job = Job {
            layout,
            values,
            step,
            best,
        };
        let sent = self.jobs.as_ref().is_some_and(|j| j.send(job).is_ok());
        self.busy = sent;
        match sent {
            true => Ok((before, Feed(feed))),
            false => Err(gone()),
        }
    }

    /// What has been written since the last call, without waiting.
    ///
    /// # Errors
    /// A checkpoint that could not be written.
    pub fn poll(&mut self) -> Result<Option<Written>> {
        if !self.busy {
            return Ok(None);
        }
        match self.done.try_recv() {
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(gone()),
            Ok(result) => {
                self.busy = false;
                result.map(Some)
            }
        }
    }

    /// Waits until nothing is under way.
    ///
    /// # Errors
    /// A checkpoint that could not be written.
    pub fn wait(&mut self) -> Result<Option<Written>> {
        if !self.busy {
            return Ok(None);
        }
        self.busy = false;
        self.done.recv().map_err(|_| gone())?.map(Some)
    }
}

impl Drop for Writer {
    /// Lets the checkpoint that is under way reach the disk.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn gone() -> Error {
    Error::internal("the thread that writes checkpoints has ended")
}

fn write(folder: &RunFolder, mut job: Job, keep: usize) -> Result<Written> {
    let started = Instant::now();
    let _span = trace::numbered("checkpoint", job.step);
    let write = |path: &Path| {
        let values = &mut |n| job.values.take(n);
        job.layout.write(path, values).map(drop)
    };
    let saved = folder.save(write, job.step, job.best, keep);
    saved.map_err(|e| match e {
        Error::Io { .. } => Error::internal(format!(
            "{e}; earlier checkpoints are whole: mend this and go on with --resume"
        )),
        other => other,
    })?;
    let bytes = std::fs::metadata(folder.step(job.step)).map_or(0, |m| m.len());
    Ok(Written {
        step: job.step,
        bytes,
        took: started.elapsed(),
    })
}
