"""A pipeline small enough to compile in a test; nobody runs it."""

from kfp import dsl


@dsl.component(base_image="registry.example.com/ml/python-launcher:1", install_kfp_package=False)
def add(a: int) -> int:
    return a + 1


@dsl.pipeline(name="small", description="Adds twice.")
def small(start: int = 1, label: str = "", share: float = 0.5, more: dict = {}, name: str = "", webhook: str = ""):  # type: ignore[no-untyped-def,type-arg]  # noqa: B006
    """Adds twice.

    Args:
        start: Where to begin.
        label: A word.
        share: A number.
        more: Anything.
        name: Of the thing.
        webhook: Where to tell it.
    """
    first = add(a=start).set_display_name("Add one")
    add(a=first.output).set_display_name("Add another")


@dsl.pipeline(name="small", description="Adds once.")
def smaller(start: int = 1):  # type: ignore[no-untyped-def]
    """Adds once.

    Args:
        start: Where to begin.
    """
    add(a=start).set_display_name("Add one")


@dsl.component(base_image="registry.example.com/ml/python-launcher:1", install_kfp_package=False)
def model(a: int) -> int:
    return a


@dsl.component(base_image="registry.example.com/ml/python-launcher:1", install_kfp_package=False)
def tell(a: int) -> int:
    return a


@dsl.pipeline(name="handled", description="Adds, judges in a loop, and tells at the end.")
def handled(start: int = 1):  # type: ignore[no-untyped-def]
    """Adds, judges in a loop, and tells at the end.

    Args:
        start: Where to begin.
    """
    told = tell(a=start).set_display_name("Tell how it went")
    with dsl.ExitHandler(told, name="All of it"):
        first = add(a=start).set_display_name("Prepare the dataset")
        with dsl.ParallelFor([1, 2]):
            model(a=first.output).set_display_name("Evaluate")
