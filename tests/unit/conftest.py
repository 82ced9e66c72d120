from hypothesis import HealthCheck, settings

# These tests assert on results, never on times: a busy machine must not fail them.
settings.register_profile("results", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("results")
