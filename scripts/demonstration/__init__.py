"""The demo: a scripted agent, a pretend AWS, and what the gateway makes of them."""
