"""Responses, their phases, and everything agents found, voted and decided."""

from __future__ import annotations

from django.db import models
from django.utils.timezone import now

from incidentops.incidents.models import Incident


class Agent(models.TextChoices):
    DETECTION = "detection"
    DIAGNOSIS = "diagnosis"
    PREDICTION = "prediction"
    RESOLUTION = "resolution"
    COMMUNICATION = "communication"


class Phase(models.TextChoices):
    DETECTION = "detection"
    DIAGNOSIS = "diagnosis"
    PREDICTION = "prediction"
    CONSENSUS = "consensus"
    RESOLUTION = "resolution"
    VERIFICATION = "verification"
    COMMUNICATION = "communication"

    @property
    def order(self) -> int:
        return list(Phase).index(self)


class PhaseState(models.TextChoices):
    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


class ResponseState(models.TextChoices):
    RUNNING = "running"
    COMPLETE = "complete"
    AWAITING_APPROVAL = "awaiting_approval"
    ESCALATED = "escalated"
    FAILED = "failed"


class AgentState(models.TextChoices):
    IDLE = "idle"
    INITIALIZING = "initializing"
    ANALYZING = "analyzing"
    PROCESSING = "processing"
    WAITING = "waiting"
    COMPLETED = "completed"
    ERROR = "error"
    TIMEOUT = "timeout"


class Response(models.Model):
    """The swarm's work on one incident. A reopened incident gets another cycle.

    `urgency` is the severity's rank when the work was last queued: 0 goes first.
    `parallel_remaining` counts the parallel phases that have not finished; whoever brings it to
    zero unlocks consensus. `opening` is the incident's version at the reopening this cycle answers, 0
    in the first. `epoch` is the membership whose ballots count, fixed when the candidates are frozen.
    `requeues` counts how often a person revived the response, so people are told anew each time.
    """

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="responses")
    cycle = models.PositiveIntegerField(default=1)
    state = models.CharField(
        max_length=20, choices=ResponseState.choices, default=ResponseState.RUNNING
    )
    urgency = models.PositiveSmallIntegerField()
    parallel_remaining = models.PositiveSmallIntegerField(default=2)
    opening = models.PositiveIntegerField(default=0)
    epoch = models.PositiveIntegerField(null=True, blank=True)
    requeues = models.PositiveSmallIntegerField(default=0)
    version = models.BigIntegerField(default=1)
    reason = models.TextField(blank=True, default="")
    started_at = models.DateTimeField(default=now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["incident", "cycle"], name="response_cycle_once"),
        ]

    def __str__(self) -> str:
        return f"response {self.cycle} to #{self.incident_id}"


class PhaseRun(models.Model):
    """One phase of one response: what a worker claims, and the record that it was done once.

    A pending phase can be claimed when `due_at` has come. Every claim raises `fence` and counts an
    attempt; finishing is a compare-and-set on the fence, so a worker that lost its lease cannot
    commit. The reaper makes a phase whose lease ran out pending again. All instants are the
    database's. `reason` says in a sentence why a phase was skipped or failed.
    """

    response = models.ForeignKey(Response, on_delete=models.CASCADE, related_name="phases")
    phase = models.CharField(max_length=16, choices=Phase.choices)
    state = models.CharField(max_length=8, choices=PhaseState.choices, default=PhaseState.PENDING)
    fence = models.BigIntegerField(default=0)
    lease_owner = models.CharField(max_length=80, blank=True, default="")
    lease_until = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField(null=True, blank=True)
    woken_at = models.DateTimeField(null=True, blank=True)
    wakes = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True, default="")
    reason = models.TextField(blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["response", "phase"], name="phase_once"),
        ]
        indexes = [
            models.Index(
                fields=["due_at"],
                condition=models.Q(state__in=[PhaseState.PENDING, PhaseState.RUNNING]),
                name="phase_claimable",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.phase} of {self.response_id}"


class Evidence(models.Model):
    """Something observed, on which claims may rest. The id is a digest of its content."""

    id = models.CharField(max_length=24, primary_key=True)
    response = models.ForeignKey(Response, on_delete=models.CASCADE, related_name="evidence")
    agent = models.CharField(max_length=16, choices=Agent.choices)
    family = models.CharField(max_length=16)
    kind = models.CharField(max_length=40)
    title = models.CharField(max_length=300)
    source = models.CharField(max_length=300)
    data = models.JSONField()
    observed_from = models.DateTimeField(null=True, blank=True)
    observed_to = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=now)

    class Meta:
        verbose_name_plural = "evidence"

    def __str__(self) -> str:
        return self.title


class AgentRun(models.Model):
    """One run of one agent. Attempts that lost their lease stay, marked `timeout`."""

    response = models.ForeignKey(Response, on_delete=models.CASCADE, related_name="runs")
    phase_run = models.ForeignKey(PhaseRun, on_delete=models.CASCADE, related_name="runs")
    agent = models.CharField(max_length=16, choices=Agent.choices)
    phase = models.CharField(max_length=16, choices=Phase.choices)
    fence = models.BigIntegerField()
    state = models.CharField(max_length=12, choices=AgentState.choices)
    provider = models.CharField(max_length=16)
    finding = models.JSONField(null=True, blank=True)
    evidence = models.ManyToManyField(Evidence, related_name="runs")
    error = models.TextField(blank=True, default="")
    started_at = models.DateTimeField(default=now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["phase_run", "agent", "fence"], name="run_once"),
        ]
        indexes = [models.Index(fields=["agent", "-started_at"], name="run_by_agent")]

    def __str__(self) -> str:
        return f"{self.agent} in {self.phase} of {self.response_id}"


class Candidate(models.Model):
    """A remediation that may be voted on, frozen by the digest of its content.

    `outlook` is what the prediction agent expects of it, or why that is unknown.
    """

    response = models.ForeignKey(Response, on_delete=models.CASCADE, related_name="candidates")
    digest = models.CharField(max_length=64)
    action = models.CharField(max_length=40)
    target = models.CharField(max_length=120, blank=True, default="")
    content = models.JSONField()
    outlook = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["response", "digest"], name="candidate_once"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target}".strip()


class VoterKey(models.Model):
    """A voter's public key and weight, frozen for an epoch of membership."""

    epoch = models.PositiveIntegerField()
    voter = models.CharField(max_length=16, choices=Agent.choices)
    public_key = models.CharField(max_length=64)
    weight = models.FloatField()
    quarantined_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["epoch", "voter"], name="voter_key_once")]

    def __str__(self) -> str:
        return f"{self.voter} in epoch {self.epoch}"


class Ballot(models.Model):
    """One agent's signed scores of all candidates. The first ballot of a round is the ballot.

    `information` is the digest of what was known when it was cast.
    """

    response = models.ForeignKey(Response, on_delete=models.CASCADE, related_name="ballots")
    round = models.PositiveSmallIntegerField()
    voter = models.CharField(max_length=16, choices=Agent.choices)
    epoch = models.PositiveIntegerField()
    candidates_digest = models.CharField(max_length=64)
    choice = models.CharField(max_length=64)
    scores = models.JSONField()
    reason = models.TextField()
    families = models.JSONField(default=list)
    information = models.CharField(max_length=64, default="")
    signature = models.CharField(max_length=128)
    cast_at = models.DateTimeField(default=now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["response", "round", "voter"], name="one_ballot"),
        ]

    def __str__(self) -> str:
        return f"{self.voter} in round {self.round} of {self.response_id}"


class Equivocation(models.Model):
    """Two different ballots signed by one voter for one round: proof against that voter."""

    response = models.ForeignKey(Response, on_delete=models.CASCADE, related_name="equivocations")
    round = models.PositiveSmallIntegerField()
    voter = models.CharField(max_length=16, choices=Agent.choices)
    first = models.JSONField()
    second = models.JSONField()
    found_at = models.DateTimeField(default=now)

    def __str__(self) -> str:
        return f"{self.voter} in round {self.round} of {self.response_id}"


class Decision(models.Model):
    """What the ballots decided, with the certificate that lets anybody check it."""

    class Outcome(models.TextChoices):
        DECIDED = "decided"
        ABORTED = "aborted"

    response = models.OneToOneField(Response, on_delete=models.CASCADE, related_name="decision")
    outcome = models.CharField(max_length=8, choices=Outcome.choices)
    choice = models.CharField(max_length=64, blank=True, default="")
    round = models.PositiveSmallIntegerField()
    reason = models.TextField()
    certificate = models.JSONField()
    decided_at = models.DateTimeField(default=now)

    def __str__(self) -> str:
        return f"{self.outcome} for {self.response_id}"


class Approval(models.Model):
    """A plan that waits for people. What is decided is the digest that was shown."""

    class State(models.TextChoices):
        PENDING = "pending"
        APPROVED = "approved"
        REJECTED = "rejected"
        EXPIRED = "expired"

    response = models.ForeignKey(Response, on_delete=models.CASCADE, related_name="approvals")
    plan_digest = models.CharField(max_length=64)
    plan = models.JSONField()
    state = models.CharField(max_length=8, choices=State.choices, default=State.PENDING)
    required = models.PositiveSmallIntegerField(default=1)
    requested_at = models.DateTimeField(default=now)
    expires_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["response", "plan_digest"], name="approval_once"),
        ]

    def __str__(self) -> str:
        return f"{self.state} plan for {self.response_id}"


class ApprovalVoice(models.Model):
    """One person's word on an approval."""

    approval = models.ForeignKey(Approval, on_delete=models.CASCADE, related_name="voices")
    person = models.CharField(max_length=120)
    is_approving = models.BooleanField()
    reason = models.TextField(blank=True, default="")
    at = models.DateTimeField(default=now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["approval", "person"], name="one_voice_each"),
        ]

    def __str__(self) -> str:
        return f"{self.person} on {self.approval_id}"
