//! The output of an app whose instances are on both engines.

use ports::{Engine, EngineError, LogFollow, LogLine, LogStream, LogWish, Pending};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How many lines of each engine are read ahead.
const AHEAD: usize = 64;

type Line = Result<LogLine, EngineError>;

/// Two logs as one.
struct Both {
    sources: [Source; 2],
    follow: LogFollow,
    /// Own what reads the two.
    _tasks: JoinSet<()>,
}

/// A log, and its next line when that was looked at.
struct Source {
    lines: mpsc::Receiver<Line>,
    head: Option<Line>,
}

/// The output of both engines.
pub(super) async fn of_both(
    one: &dyn Engine,
    other: &dyn Engine,
    wish: LogWish,
) -> Result<Box<dyn LogStream>, EngineError> {
    let follow = wish.follow;
    let mut tasks = JoinSet::new();
    let streams = [one.logs(wish.clone()).await?, other.logs(wish).await?];
    let sources = streams.map(|mut stream| {
        let (sender, lines) = mpsc::channel(AHEAD);
        tasks.spawn(async move {
            while let Some(line) = stream.next().await.transpose() {
                let is_last = line.is_err();
                if sender.send(line).await.is_err() || is_last {
                    return;
                }
            }
        });
        Source { lines, head: None }
    });
    Ok(Box::new(Both {
        sources,
        follow,
        _tasks: tasks,
    }))
}

impl LogStream for Both {
    fn next(&mut self) -> Pending<'_, Result<Option<LogLine>, EngineError>> {
        Box::pin(async {
            let line = match self.follow {
                LogFollow::Stop => self.oldest().await,
                LogFollow::Follow => self.first().await,
            };
            line.transpose()
        })
    }
}

impl Both {
    /// Of two logs that end, the line that was written first.
    async fn oldest(&mut self) -> Option<Line> {
        for source in &mut self.sources {
            if source.head.is_none() {
                source.head = source.lines.recv().await;
            }
        }
        // A failure is told at once.
        let time = |source: &Source| match &source.head {
            None => None,
            Some(Err(_)) => Some(None),
            Some(Ok(line)) => Some(Some(line.at)),
        };
        let with_line = self
            .sources
            .iter_mut()
            .filter(|source| source.head.is_some());
        with_line
            .min_by_key(|source| time(source))
            .and_then(|source| source.head.take())
    }

    /// Of two logs that go on, the line that comes first.
    async fn first(&mut self) -> Option<Line> {
        let [one, other] = &mut self.sources;
        tokio::select! {
            Some(line) = one.lines.recv() => Some(line),
            Some(line) = other.lines.recv() => Some(line),
            else => None,
        }
    }
}
