// All of the core: executors, futures, map, errors, this process, named tasks.
#pragma once

#include "yoke/language.hpp"

#if __cplusplus >= 202002L  // else one error is enough

#include "yoke/broadcast.hpp"
#include "yoke/error.hpp"
#include "yoke/exception.hpp"
#include "yoke/executor.hpp"
#include "yoke/future.hpp"
#include "yoke/map.hpp"
#include "yoke/named_task.hpp"
#include "yoke/observer.hpp"
#include "yoke/options.hpp"
#include "yoke/parallel_for.hpp"
#include "yoke/process.hpp"
#include "yoke/reducers.hpp"
#include "yoke/reusable.hpp"
#include "yoke/serializer.hpp"
#include "yoke/shared_array.hpp"
#include "yoke/stats.hpp"
#include "yoke/version.hpp"
#include "yoke/wrap.hpp"

#endif
