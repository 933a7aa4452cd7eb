"""Minimise a smooth convex function to a certified relative gap; knows nothing of data.

One idea carries it: a preconditioner built from the curvature at a recent point makes the level
sets nearly round. Where that curvature holds still, a few limited-memory quasi-Newton steps on top
of it finish the work with one evaluation each. Where it does not, because the data are nearly
separable and the loss falls by a constant factor at every step, quasi-Newton pairs mislead; there
each step is a truncated Newton step by conjugate gradients. The fall of the objective tells which.
Where the preconditioner is rough the last pair says how long steps are, and pairs alone do it.
A problem may ask to be reached over easier ones, from the solution of one to the next, or over a
cheaper one that has its optimum nearby, or name a point to begin at. Where it asks for no easier
ones it may offer itself in less precision, which is enough until the last steps.

References
----------
Nocedal & Wright, "Numerical Optimization", 2nd ed., algorithm 7.1 (line-search Newton-CG).
Hager & Zhang (2005), "A new conjugate gradient method with guaranteed descent and an efficient line
search", for the test of descent by slopes. Raydan & Svaiter (2002), "Relaxed steepest descent and
Cauchy-Barzilai-Borwein method", for first steps short of the best.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from softmax.learn.pairs import Pairs
from softmax.learn.preconditioner import Preconditioner
from softmax.learn.problem import Bound, Iteration, Parameters, Problem, Report, Solution

__all__ = ["minimise"]

PATH_TOL = 0.1  # of the problems that only lead to the next
SAMPLE_TOL = 0.01  # of a sample: it would not be worth much more
NEWTON_FALL = 0.1  # an objective that falls by more than this share a step has moving curvature
TRIAL_STEPS = 6  # quasi-Newton steps before that is judged: the first ones always fall steeply
BROKEN_PROMISE = 0.1  # a step that gained less than this share of its decrement, likewise
GROWN = 5.0  # a promise so many times the last one's comes from pairs that mislead
REFRESH_FALL = 0.01  # renew the preconditioner when the Newton decrement fell to this share
REFRESH_STEPS = 30  # and when it has not converged after so many steps
CG_SHARE = 0.5  # end where a step adds less to the promise than this share of the mean so far
CG_STEPS = 200
VERIFYING_STEPS = 20  # so many in a row, where the decrement is wanted rather than the direction
LONGEST = 8.0  # step
RELAXED = 0.5  # of the best first step: from there the next would go at right angles
IDLE_STEPS = 20
SETTLINGS = 5
ROUNDING = 1e-9  # relative; of an objective summed over many rows, float32 included
ROUNDED_TOL = 1e-4  # relative; what is asked of a problem in less precision
ROUNDED_PROMISE = 1e-6  # of a step there, from which on rounding may show
NEAR = 10.0  # tolerances: from such a gap on points before are asked for a closer one
STEERED = 30.0  # tolerances: from there on rough directions are steered
KEPT = 0.9  # of what a direction promises must be kept by the steered one
LOOSE = 1000.0  # a gap so many times the Newton decrement says little: see `converged`
DECREMENT_SAFETY = 10.0


@dataclass
class _Point:
    parameters: Parameters
    objective: float
    gradient: Parameters
    slope: float = 0.0  # along the direction that led here


def minimise(
    problem: Problem,
    start: Parameters,
    *,
    tol: float,
    max_iter: int,
    report: Report,
) -> Solution:
    """Minimise `problem` from `start` until gap <= tol * |objective|.

    Parameters
    ----------
    problem : Problem
        A convex function.
    start : ndarray
        Where to begin; not changed. Zero is taken for no knowledge at all: only from there are
        easier problems and samples visited first.
    tol : float
        Relative gap to reach. Where the gap is loose, the Newton decrement with a margin decides.
    max_iter : int
        Most steps to take.
    report : callable
        Called with an `Iteration` and the parameters before the first step and after each; True
        stops. Steps on a sample are neither reported nor counted.

    Returns
    -------
    Solution
    """
    began = time.perf_counter()
    solution = Solution(start)
    ready = start.any() or max_iter == 0
    *easier, last = [problem] if ready else problem.path()
    inverse = None if ready or easier else _warm_up(problem, solution, tol, max_iter)
    guess = None if ready else [*easier, last][0].guess()
    solution.parameters = solution.parameters if guess is None else guess
    for stage in [*easier, last]:
        stage_tol = tol if stage is last else max(tol, PATH_TOL)
        # A weak penalty leaves losses near the rounding of less precision, a start few steps.
        begun = stage if easier or ready else stage.rounded(tol)
        run = _Run(begun, solution, stage_tol, max_iter, report, began, inverse)
        run.leads = stage is not last
        run.solve()
        if solution.interrupted or solution.history[-1].iteration >= max_iter:
            break
    return solution


def _warm_up(
    problem: Problem, solution: Solution, tol: float, max_iter: int
) -> Preconditioner | None:
    """Move the start to the optimum of a sample, and return the curvature there."""
    sample = problem.sample()
    if sample is None:
        return None
    trial = Solution(solution.parameters)
    run = _Run(sample, trial, max(tol, SAMPLE_TOL), max_iter, lambda *news: False, 0.0)
    run.solve()
    solution.parameters = trial.parameters
    return run.preconditioner


class _Run:
    """One minimisation: the current point and what steers the next step."""

    def __init__(
        self,
        problem: Problem,
        solution: Solution,
        tol: float,
        max_iter: int,
        report: Report,
        began: float,
        preconditioner: Preconditioner | None = None,
    ) -> None:
        self.problem = problem
        self.solution = solution
        self.tol = tol
        self.max_iter = max_iter
        self.report = report
        self.began = began
        self.memory = Pairs(solution.parameters.size)
        self.point = self.evaluate(solution.parameters.astype(self.problem.dtype, copy=False))
        self.bundle: Bound | None = None
        self.gap = self.bound()
        self.decrement = np.inf  # of the current point, once a direction is known
        self.last_decrement = np.inf
        self.gain = np.inf  # of the last step
        self.newton = False
        self.newton_fall = NEWTON_FALL
        self.leads = False  # to another problem, whose objective and gap are told
        self.n_steps = 0
        self.least = (self.point.objective, self.gap)
        self.idle_steps = self.n_settlings = 0
        if self.rounding_shows():
            self.refine()
        self.renew(preconditioner)

    def solve(self) -> None:
        """Step until the tolerance, the last iteration, or the end of what can be resolved."""
        history = self.solution.history
        if not history:
            self.tell(0)
        while history[-1].iteration < self.max_iter and self.idle_steps < IDLE_STEPS:
            self.solution.unbounded = self.problem.unbounded()
            if self.solution.interrupted or self.solution.unbounded:
                break
            if self.converged():
                if not self.settle():
                    break
                continue
            direction = self.direction()
            if not self.preconditioner.exact and not self.leads and self.converged():
                # Pairs alone know too little of the flat directions to say so.
                direction = self.promising(self.newton_direction(VERIFYING_STEPS))
            if self.converged():
                if self.refine():
                    continue
                break
            arrived = self.line_search(direction)
            if arrived is None and self.borrowed:
                self.renew()
                continue
            if arrived is None and self.refine():
                continue
            if arrived is None:
                self.gain = 0.0
                break
            self.move(arrived)
            self.tell(history[-1].iteration + 1)
        if not self.solution.interrupted and self.refine():
            history[-1] = self.news(history[-1].iteration)
        self.solution.converged = self.converged() and not self.solution.unbounded

    def rounding_shows(self) -> bool:
        """Say whether less precision than that of the problem itself is no longer enough."""
        size = abs(self.point.objective)
        if not math.isfinite(size):
            return True
        near = self.gap <= max(ROUNDED_TOL, self.tol) * size
        return near or self.last_decrement <= ROUNDED_PROMISE * size or self.idle_steps > 0

    def refine(self) -> bool:
        """Go over to full precision, and say whether that was not so yet."""
        rounded, self.problem = self.problem, self.problem.unrounded()
        if self.problem is rounded:
            return False
        self.point = self.evaluate(self.point.parameters)
        self.bundle = None
        self.gap = self.bound()
        self.least, self.idle_steps = (self.point.objective, self.gap), 0
        return True

    def settle(self) -> bool:
        """Move to where the gap can be trusted, and say whether that was a move."""
        allowed = self.tol * abs(self.point.objective)
        if self.preconditioner.exact:
            decrement = self.preconditioner(self.point.gradient)
            if 0.5 * DECREMENT_SAFETY * float(np.vdot(decrement, self.point.gradient)) <= allowed:
                return False
        moved = self.problem.settled(self.point.parameters, self.point.gradient, allowed)
        if moved is None or self.n_settlings == SETTLINGS:
            return False
        self.n_settlings += 1
        arrived = self.evaluate(moved)
        if arrived.objective > self.point.objective * (1 + ROUNDING):
            return False
        self.decrement = abs(self.point.objective - arrived.objective) or 1.0
        self.move(arrived)
        self.tell(self.solution.history[-1].iteration + 1)
        return True

    def bound(self) -> float:
        """Return how far the point can be above the optimum."""
        point = self.point
        gap = self.problem.gap(point.parameters, point.objective, point.gradient)
        if gap > NEAR * self.tol * abs(point.objective):
            return gap
        if self.bundle is None:
            self.bundle = self.problem.bundle(self.tol)
        if self.bundle is None:
            return gap
        return min(gap, self.bundle.gap(point.parameters, point.objective, point.gradient))

    def converged(self) -> bool:
        """Say whether the gap is closed.

        The gap sees no curvature but the penalty's, so with a small penalty it can be many orders
        above the truth. Only there the Newton decrement, gradient' H^-1 gradient / 2, decides:
        to second order it is the distance to the optimum. It is known approximately, so it must
        be small with a margin, and the step before must have gained little.
        """
        allowed = self.tol * abs(self.point.objective)
        if self.gap <= allowed:
            return True
        loose = self.gap > LOOSE * self.decrement
        settled = self.gain <= DECREMENT_SAFETY * allowed
        return loose and settled and DECREMENT_SAFETY * self.decrement <= allowed

    def tell(self, iteration: int) -> None:
        news = self.news(iteration)
        self.solution.parameters = self.point.parameters
        self.solution.history.append(news)
        self.solution.interrupted = self.report(news, self.point.parameters)

    def news(self, iteration: int) -> Iteration:
        point = self.point
        objective, gap = point.objective, self.gap
        if self.leads:
            objective, gap = self.problem.certificate(
                point.parameters, point.objective, point.gradient
            )
        return Iteration(iteration, objective, gap, time.perf_counter() - self.began)

    def evaluate(self, parameters: Parameters, direction: Parameters | None = None) -> _Point:
        self.solution.n_evaluations += 1
        objective, gradient = self.problem.evaluate(parameters)
        slope = 0.0 if direction is None else float(np.vdot(gradient, direction))
        return _Point(parameters, objective, gradient, slope)

    def move(self, arrived: _Point) -> None:
        left = self.point
        if not self.preconditioner.exact:
            self.memory.add(
                (left.parameters, left.gradient), (arrived.parameters, arrived.gradient)
            )
        self.gain = left.objective - arrived.objective
        self.judge(self.gain / abs(left.objective), self.gain / self.decrement)
        self.last_decrement, self.decrement = self.decrement, np.inf
        self.steps_since_renewal += 1
        self.point = arrived
        self.gap = self.bound()
        self.watch_rounding()
        if self.rounding_shows():
            self.refine()

    def watch_rounding(self) -> None:
        """Count steps on which neither the objective nor the gap came down beyond rounding."""
        objective, gap = self.least
        lower = self.point.objective < objective - ROUNDING * abs(objective)
        if lower or self.gap < 0.9 * gap:
            self.least = (self.point.objective, min(gap, self.gap))
            self.idle_steps = 0
        else:
            self.idle_steps += 1

    def judge(self, fall: float, kept_promise: float) -> None:
        """Choose the next kind of step by the last one's relative fall and share of the promise."""
        self.n_steps += 1
        broken = kept_promise < BROKEN_PROMISE
        if broken and not self.newton:
            self.newton_fall /= 3  # return to quasi-Newton steps more reluctantly
        steep = fall > self.newton_fall and (self.newton or self.n_steps > TRIAL_STEPS)
        self.newton = (broken or steep) and not self.preconditioner.rough

    def renew(self, known: Preconditioner | None = None) -> None:
        """Take the curvature of the current point; pairs gathered with the old one are stale."""
        self.borrowed = known is not None
        self.preconditioner = known or self.problem.preconditioner(self.point.parameters)
        self.solution.n_preconditioners += known is None
        if not self.preconditioner.rough:
            self.memory.clear()
        self.steps_since_renewal = 0
        self.first_decrement: float | None = None

    def direction(self) -> Parameters:
        """Choose between a Newton and a quasi-Newton step; see the head of this module."""
        if self.preconditioner.exact or self.newton:
            if self.steps_since_renewal:
                self.renew()
            return self.promising(self.newton_direction())
        if self.stale():
            self.renew()
        ascent = self.memory.apply(self.point.gradient, self.preconditioner)
        direction = self.promising(np.negative(ascent, out=ascent))
        if self.preconditioner.rough and self.gap <= STEERED * self.tol * abs(self.point.objective):
            direction = self.steered(direction)
        grown = self.decrement > GROWN * self.last_decrement
        if self.memory and grown and not self.preconditioner.rough:
            self.newton = True
            self.renew()
            return self.promising(self.newton_direction())
        if self.first_decrement is None:
            self.first_decrement = self.decrement
        return direction

    def steered(self, direction: Parameters) -> Parameters:
        """Return a direction with what can be solved for itself, where that promises as much."""
        promised, point = self.decrement, self.point
        other = self.problem.steered(direction.copy(), point.parameters, point.gradient)
        self.promising(other)
        return other if self.decrement >= KEPT * promised else self.promising(direction)

    def promising(self, direction: Parameters) -> Parameters:
        """Note what a direction promises, and return it."""
        self.decrement = -0.5 * float(np.vdot(direction, self.point.gradient))
        return direction

    def stale(self) -> bool:
        """Say whether a new preconditioner would pay for itself."""
        if self.first_decrement is None or self.steps_since_renewal < 2:
            return False
        worth_it = self.last_decrement > 3 * self.tol * abs(self.point.objective)
        fallen = self.last_decrement < REFRESH_FALL * self.first_decrement
        return (worth_it and fallen) or self.steps_since_renewal >= REFRESH_STEPS

    def newton_direction(self, patience: int = 1) -> Parameters:
        """Solve the Newton equations roughly by preconditioned conjugate gradients."""
        residual = -self.point.gradient
        step = self.preconditioner(residual)
        if self.preconditioner.exact:
            return step
        direction = np.zeros_like(step)
        size = float(np.vdot(residual, step))
        promised = 0.0
        n_small = 0
        for count in range(1, CG_STEPS + 1):
            self.solution.n_hessian_products += 1
            curved = self.problem.hessian_product(self.point.parameters, step)
            curvature = float(np.vdot(step, curved))
            if curvature <= 0:  # rounding
                break
            length = size / curvature
            direction += length * step
            residual = residual - length * curved
            promised += 0.5 * length * size
            small = count * 0.5 * length * size <= CG_SHARE * promised
            n_small = n_small + 1 if small else 0
            if n_small == patience:
                break
            preconditioned = self.preconditioner(residual)
            last_size, size = size, float(np.vdot(residual, preconditioned))
            step = preconditioned + (size / last_size) * step
        return direction

    def line_search(self, direction: Parameters) -> _Point | None:
        """Return a lower point along `direction`, or None where rounding hides any descent.

        A steep slope left at the full step means that the loss falls exponentially there, as on
        separable data; a longer step is then worth its evaluation.
        """
        start = self.point
        slope = -2 * self.decrement
        if slope >= 0:
            return None
        reaching = self.newton or self.preconditioner.exact
        length = 1.0
        if self.preconditioner.rough and not self.memory:
            length = RELAXED * self.problem.best_length(start.parameters, direction)
        best: _Point | None = None
        for _ in range(30):
            step = direction if length == 1 else length * direction
            trial = self.evaluate(start.parameters + step, direction)
            if not self.lower(trial, slope, length):
                if best is not None:
                    return best
                length *= min(0.6, max(0.35, slope / (slope - trial.slope)))
                continue
            if best is not None and trial.objective > best.objective:
                return best
            steep = trial.slope < 0.3 * slope and (best is not None or length == 1)
            if reaching and steep and length < LONGEST:
                best = trial
                length *= 2
                continue
            return trial
        return best

    def lower(self, trial: _Point, slope: float, length: float) -> bool:
        """Test for enough descent, by slopes where objectives differ by rounding alone."""
        if not math.isfinite(trial.objective):
            return False
        if trial.objective <= self.point.objective + 1e-4 * length * slope:
            return True
        rounding = ROUNDING * abs(self.point.objective)
        flat = abs(trial.objective - self.point.objective) <= rounding
        return flat and trial.slope <= -0.9998 * slope
