//! The phases and the steps of tasks: their words.

/// A line of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Towards what was asked for.
    Forward,
    /// After the accepted detach: an upgrade's one-way point.
    Detach,
    /// After the accepted deletion of what the task makes, or a customer's end of it before its one-way point.
    Abandon,
    /// Back to what was.
    Undo,
    /// After the cut-over: the one-way point of an upgrade of the same instance.
    Finish,
}

/// A part of a task. Each may run twice: it looks first at what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Check again what the plan was made from; the world may have changed.
    Examine,
    /// Make the new server's folders and its system tables; what a former try left is removed.
    Place,
    /// Start the new server, not reachable by clients.
    Start,
    /// Make the databases and users of a new instance.
    Prepare,
    /// Ask the new server what it is, and make it the one that serves.
    Publish,
    /// Wait until the endpoint lets clients in.
    Open,
    /// Copy the source's content with the position it stands for.
    Seed,
    /// Bring the copied system objects to the new version where that is due.
    Convert,
    /// Open the relay and let the new server follow its source.
    Replicate,
    /// Wait until the new server has reached a position of the source.
    CatchUp,
    /// Compare both sides, probe, ask the new server's version, and make it the one that serves the new instance.
    Verify,
    /// Wait until the new server has everything that the source had at the detach.
    Drain,
    /// End replication on the new server and let it write.
    Cut,
    /// Take the relay, its account and its settings off the source.
    Release,
    /// Close the instance's address.
    Unroute,
    /// Stop the task's own server and delete what it holds.
    DropServer,
    /// Make the candidate's data ready as far as can be while the old server serves.
    Ready,
    /// Wait for a moment in which clients hardly notice a hold.
    Quiet,
    /// Have the endpoint hold new connections.
    Hold,
    /// Keep tenants from writing to the old server, and end their sessions.
    Fence,
    /// Stop the old server, and prove that it stopped cleanly.
    Stop,
    /// Make the candidate's data of the old server's, whose folder is not touched.
    Transform,
    /// Ask the candidate what it is, and make it the one that serves: the one-way point.
    Cutover,
    /// Let tenants write to the new server.
    Admit,
    /// Have the endpoint let connections through again.
    Reopen,
    /// Stop the old server, which is kept for a while, and take off what the upgrade left in it.
    Retire,
    /// Have the old server serve again: started, and open to writes.
    Reinstate,
    /// Make a new server for a group's standby, with the primary's content, and have it follow; what a former try left
    /// is removed.
    Rebuild,
    /// Ask the standby's new server what it is, and have it take the place of the standby's old one.
    Renew,
    /// Wait until the standby that a change of roles left has everything; where it was made anew its server takes the
    /// place of the old one.
    Rejoin,
    /// Have the standby's old server take its place again, and follow the primary.
    Restore,
}

const ALL_PHASES: [Phase; 5] = [Phase::Forward, Phase::Detach, Phase::Abandon, Phase::Undo, Phase::Finish];

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 5] = ALL_PHASES;

    /// The word in rows and views.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Detach => "detach",
            Self::Abandon => "abandon",
            Self::Undo => "undo",
            Self::Finish => "finish",
        }
    }
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 31] = [
        Self::Examine,
        Self::Place,
        Self::Start,
        Self::Prepare,
        Self::Publish,
        Self::Open,
        Self::Seed,
        Self::Convert,
        Self::Replicate,
        Self::CatchUp,
        Self::Verify,
        Self::Drain,
        Self::Cut,
        Self::Release,
        Self::Unroute,
        Self::DropServer,
        Self::Ready,
        Self::Quiet,
        Self::Hold,
        Self::Fence,
        Self::Stop,
        Self::Transform,
        Self::Cutover,
        Self::Admit,
        Self::Reopen,
        Self::Retire,
        Self::Reinstate,
        Self::Rebuild,
        Self::Renew,
        Self::Rejoin,
        Self::Restore,
    ];

    /// The word in rows and views.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Examine => "examine",
            Self::Place => "place",
            Self::Start => "start",
            Self::Prepare => "prepare",
            Self::Publish => "publish",
            Self::Open => "open",
            Self::Seed => "seed",
            Self::Convert => "convert",
            Self::Replicate => "replicate",
            Self::CatchUp => "catch_up",
            Self::Verify => "verify",
            Self::Drain => "drain",
            Self::Cut => "cut",
            Self::Release => "release",
            Self::Unroute => "unroute",
            Self::DropServer => "drop_server",
            Self::Ready => "ready",
            Self::Quiet => "quiet",
            Self::Hold => "hold",
            Self::Fence => "fence",
            Self::Stop => "stop",
            Self::Transform => "transform",
            Self::Cutover => "switch",
            Self::Admit => "admit",
            Self::Reopen => "reopen",
            Self::Retire => "retire",
            Self::Reinstate => "reinstate",
            Self::Rebuild => "rebuild",
            Self::Renew => "renew",
            Self::Rejoin => "rejoin",
            Self::Restore => "restore",
        }
    }
}
