"""What a pipeline says of its configuration: the one thing that its folder's `plan.py` must hold."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from shipway.errors import InvalidSpec
from shipway.specs import parse

if TYPE_CHECKING:
    from shipway.executors.kubernetes import KubernetesExecutor

Specs = Mapping[str, Any]  # section -> its validated spec


class Plan:
    """A pipeline's configuration. `plan.py` holds a subclass, and an instance of it called `plan`.

    Read by the plan table and `--dry-run`, `describe`, a run's key, `publish`, `submit`, schedules, and by the plan
    task in its pod. Only `sections` has to be given; a method that is left out checks nothing and says nothing.

    Attributes:
        version: Of the pipeline with its plan: what `publish` calls it, and which published versions `submit` may
            check by this plan. Empty: publishing takes a `--version`, and only parameter types are checked.
        sections: Section -> its spec. The plan task gives out one canonical JSON string for each.
        flat: Flat parameter of the pipeline -> the fields that it sets, (section, field), a field within a mapping by
            its path, `input.column`; none for a parameter that no step's work depends on. "", 0 and None mean "not
            given": KFP has no optional parameters that kfp.local can run.
        decided: Flat parameters that alone decide their fields: an override of such a field is refused.
        whole: Fields that are replaced as a whole where other mappings are merged.
    """

    version: str = ""
    sections: Mapping[str, type[BaseModel]] = {}
    flat: Mapping[str, Sequence[tuple[str, str]]] = {}
    decided: Collection[str] = ()
    whole: Collection[str] = ()

    def check_names(self, place: object) -> None:
        """Refuses a plan that names what it has not: such a parameter would set nothing, without a word.

        Args:
            place: Its file, for messages.

        Raises:
            InvalidSpec: a section, a field or a flat parameter that there is not.
        """
        for parameter, targets in self.flat.items():
            for section, path in targets:
                field = f"pipeline: {place}: flat[{parameter!r}]"
                if section not in self.sections:
                    raise InvalidSpec("unknown section", field=field, given=section, allowed=self.sections)
                fields = self.sections[section].model_fields
                if fields and path.partition(".")[0] not in fields:
                    raise InvalidSpec(f"section {section} has no field", field=field, given=path, allowed=fields)
        for name in self.decided:
            if name not in self.flat:
                raise InvalidSpec(
                    "no flat parameter", field=f"pipeline: {place}: decided", given=name, allowed=self.flat
                )

    def take_along(self, params: Mapping[str, Any], pin: Callable[[str], str]) -> dict[str, Any]:
        """Parameters as they travel: what names something on the machine of the person who types is packed.

        Asked on that machine before anything else, and again by `resolve`: what is packed stays as it is. This one pins
        the flat parameter `code`, where it is a person's own code (`shipway.code`); a plan that takes more along calls
        it behind its own.

        Args:
            params: As typed, in the pipeline's types.
            pin: Code as a person named it -> `ADDRESS#sha256=HASH` of a store that the steps can read.

        Raises:
            UserError: what cannot travel.
        """
        takes_code = any(field.rpartition(".")[2] == "code" for _, field in self.flat.get("code", ()))
        code = params.get("code") if takes_code else None
        return {**params, "code": pin(code)} if code else dict(params)

    def start_from(
        self, preset: Mapping[str, Any], params: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The preset that overrides and flat parameters are laid on, without what does not fit them."""
        return preset

    def check_given(self, params: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
        """Refuses what was typed before it is merged: a name that is none, an override that would be ignored.

        Raises:
            InvalidSpec: one line: where, what was given, what is allowed.
        """

    def specs(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The validated spec of every section.

        Args:
            document: Section -> fields: preset, overrides and flat parameters, merged.

        Raises:
            InvalidSpec: a field is wrong, or two sections do not fit each other.
        """
        return {name: parse(model, document.get(name, {}), name) for name, model in self.sections.items()}

    def settle(self, specs: Specs) -> tuple[Specs, list[str]]:
        """The specs as they hold where this runs, where some leave a choice to what is installed there.

        Asked by everyone who resolves a configuration: what does not hold where the steps run is left as it is.

        Returns:
            The specs, and what a person should know of the choices.
        """
        return specs, []

    def check_head(self, specs: Specs) -> list[str]:
        """Looks into the data as far as that takes no time, and says what a person should know of it.

        Raises:
            UserError: the data cannot be read, or does not fit the specs.
        """
        return []

    def check_here(self, specs: Specs) -> None:
        """Refuses a run on this machine where something that it needs is not installed.

        Raises:
            UserError: names what is missing and the command that mends it.
        """

    def check_cluster(self, specs: Specs, executor: KubernetesExecutor) -> None:
        """Has the cluster judge, by a server-side dry run, what later steps will create.

        Raises:
            UserError: what the cluster would refuse.
        """

    def fingerprints(self, specs: Specs) -> dict[str, str]:
        """Outputs of the plan task beside the sections: hashes of data and code, which enter steps' cache keys."""
        return {}

    def work(self, task: str, specs: Specs) -> str:
        """How much work a task has, for the plan table; empty where there is nothing to say."""
        return ""
