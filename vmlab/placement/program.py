"""Integer programs with goals in order of importance, solved by HiGHS."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from typing_extensions import override

Sum = Mapping[int, float]
"""A linear expression: coefficients by variable."""

_INFINITY = float("inf")
_SLACK = 1e-6
_FIRST_STEPS = 20
_SETTINGS = {
    "threads": 1,
    "random_seed": 0,
    # What searches around a solution, or begins the search anew, costs more than it finds in programs like these.
    "mip_allow_restart": False,
    "mip_heuristic_run_rens": False,
    "mip_heuristic_run_rins": False,
    "mip_heuristic_run_root_reduced_cost": False,
}


@dataclass(frozen=True, slots=True)
class Goal:
    """What is to be as small as possible; `floor` is a value that it cannot go below, known beforehand.

    `steps` bounds the search (branch-and-bound nodes): what is best by then is taken. None: until it is proven. What is
    not more than the fraction `near` above what is proven to be the least will do, too.
    """

    terms: Sum
    floor: float = 0
    steps: int | None = None
    near: float = 0.0


@dataclass(slots=True)
class Program:
    """Variables are at least 0, and integers unless told otherwise.

    The first is always 0: HiGHS does not say whether rows without any variable contradict each other.
    """

    _upper: list[float] = field(default_factory=lambda: [0.0])
    _integer: list[bool] = field(default_factory=lambda: [True])
    _rows: list[tuple[Sum, float, float]] = field(default_factory=list)

    def variable(self, upper: float, *, integer: bool = True) -> int:
        """A new variable of 0 to `upper`."""
        self._upper.append(upper)
        self._integer.append(integer)
        return len(self._upper) - 1

    @property
    def size(self) -> int:
        """The number of variables."""
        return len(self._upper)

    def most(self, variable: int) -> float:
        """The variable's upper bound."""
        return self._upper[variable]

    def at_most(self, terms: Sum, bound: float) -> None:
        """The sum may be at most this."""
        self._rows.append((terms, -_INFINITY, bound))

    def at_least(self, terms: Sum, bound: float) -> None:
        """The sum must be at least this."""
        self._rows.append((terms, bound, _INFINITY))

    def equal(self, terms: Sum, value: float) -> None:
        """The sum must be this."""
        self._rows.append((terms, value, value))

    def solve(self, goals: Sequence[Goal]) -> Sequence[int] | None:
        """The values of all variables, best in the first goal, among those best in the second, and so on.

        None if the rows contradict each other. The same program always has the same answer: one thread, a fixed seed
        and no limit in seconds. A goal that the solution before it already brought to its floor costs nothing.
        """
        solver = self._solver()
        try:
            near = max((goal.near for goal in goals), default=0.0)
            first = Goal(self._weighted(goals), steps=_FIRST_STEPS if goals else None, near=near)
            values = _run(solver, first, len(self._upper))
            for goal in goals:
                if goal.terms:
                    values = self._reach(solver, goal, values)
        except _Contradiction:
            return None
        return values

    def _reach(self, solver: Any, goal: Goal, values: Sequence[int] | None) -> Sequence[int]:
        """As near to the floor as it goes, from then on as a row of its own."""
        if values is None or value(goal.terms, values) > goal.floor + _SLACK:
            bounded = goal if values is not None else replace(goal, steps=None)
            values = _run(solver, bounded, len(self._upper), values) or values
        if values is None:
            raise AssertionError("HiGHS found no solution and no contradiction")
        reached = value(goal.terms, values)
        solver.addRow(-_INFINITY, reached + _SLACK, len(goal.terms), list(goal.terms), list(goal.terms.values()))
        return values

    @staticmethod
    def _weighted(goals: Sequence[Goal]) -> Sum:
        """All goals in one: no proof, but mostly at the floor of each."""
        weighted: dict[int, float] = {}
        for number, goal in enumerate(reversed([goal for goal in goals if goal.terms])):
            for variable, factor in goal.terms.items():
                weighted[variable] = weighted.get(variable, 0) + factor * 4.0**number
        return weighted

    def _solver(self) -> Any:
        import highspy  # noqa: PLC0415 - takes 60 ms, which commands that place nothing do not pay

        solver = _silent_solver()
        for option, value in _SETTINGS.items():
            solver.setOptionValue(option, value)
        model = highspy.HighsLp()
        model.num_col_ = len(self._upper)
        model.num_row_ = len(self._rows)
        model.col_cost_ = [0.0] * len(self._upper)
        model.col_lower_ = [0.0] * len(self._upper)
        model.col_upper_ = self._upper
        model.row_lower_ = [low for _, low, _ in self._rows]
        model.row_upper_ = [high for _, _, high in self._rows]
        starts = [0]
        for terms, _, _ in self._rows:
            starts.append(starts[-1] + len(terms))
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        model.a_matrix_.start_ = starts
        model.a_matrix_.index_ = [variable for terms, _, _ in self._rows for variable in terms]
        model.a_matrix_.value_ = [float(f) for terms, _, _ in self._rows for f in terms.values()]
        kinds = highspy.HighsVarType
        model.integrality_ = [kinds.kInteger if whole else kinds.kContinuous for whole in self._integer]
        solver.passModel(model)
        return solver


def _silent_solver() -> Any:
    """HiGHS 1.16 prints its banner to standard output while it is constructed, before an option could forbid it."""
    import highspy  # noqa: PLC0415

    class Silent(highspy.Highs):
        @override
        def enableCallbacks(self) -> None:
            self.silent()
            super().enableCallbacks()  # type: ignore[no-untyped-call]

    solver = Silent()  # type: ignore[no-untyped-call]
    solver.silent()  # an older version does not enable callbacks by itself
    return solver


class _Contradiction(Exception):
    """No values satisfy all rows."""


def value(terms: Sum, values: Sequence[int]) -> float:
    """What a sum comes to."""
    return sum(factor * values[variable] for variable, factor in terms.items())


def _run(solver: Any, goal: Goal, variables: int, start: Sequence[int] | None = None) -> Sequence[int] | None:
    """Minimise the goal; None if its steps were not enough. A start that satisfies all rows bounds the search."""
    import highspy  # noqa: PLC0415

    costs = [0.0] * variables
    for variable, factor in goal.terms.items():
        costs[variable] = factor
    solver.changeColsCost(variables, list(range(variables)), costs)
    solver.setOptionValue("mip_max_nodes", 2**31 - 1 if goal.steps is None else goal.steps)
    solver.setOptionValue("mip_rel_gap", goal.near)
    # Cells are alike, so these programs are degenerate: the simplex method takes many steps to the relaxation's
    # optimum, and ends in a corner of it, far from whole numbers. It only does for a short search beside what is there.
    solver.setOptionValue("mip_lp_solver", "simplex" if goal.steps == 1 else "ipm")
    # It finds a solution where there is none; beside one, a short search does without.
    solver.setOptionValue("mip_heuristic_run_feasibility_jump", goal.steps != 1)
    if start is not None:
        solution = highspy.HighsSolution()
        solution.col_value = [float(value) for value in start]
        solver.setSolution(solution)
    solver.run()
    status = solver.getModelStatus()
    if status in (highspy.HighsModelStatus.kInfeasible, highspy.HighsModelStatus.kUnboundedOrInfeasible):
        raise _Contradiction
    if status not in (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kSolutionLimit):
        raise AssertionError(f"HiGHS: {solver.modelStatusToString(status)}")
    if solver.getInfo().primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return None
    return [round(value) for value in solver.getSolution().col_value]
