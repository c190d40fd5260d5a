"""A step's process: `python -m shipway.local.task ...` in place of `python -m kfp.dsl.executor_main ...`.

The same entry of kfp's, behind `shipway.modules`: it would find a person's folders before kfp and all that kfp imports.
"""

if __name__ == "__main__":
    from kfp.dsl.executor_main import executor_main

    executor_main()
