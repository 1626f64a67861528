"""Every interleaving of one job of a message broker, as states and steps. Pure Python; nothing of the product runs.

One step is one transaction of the store or one command of the engine, named as the method that makes it. A process
makes its steps in the order of the code, and may be killed between any two. ``without`` leaves a rule out.

Two workers on two hosts. The supervisor of the first one may die too; the second host looks after the lost ones.
"""
