# How this project's own code is compiled: warnings are errors, ccache where there is one,
# sanitizers by EVENTSTORE_SANITIZER, thread-safety analysis under clang.
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

add_library(eventstore_options INTERFACE)
target_include_directories(eventstore_options INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(eventstore_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Werror
  -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(eventstore_options INTERFACE -Wthread-safety -Wno-c++20-designator
    # RapidJSON 1.1 compares its iterators as C++20 finds ambiguous.
    -Wno-ambiguous-reversed-operator)
else()
  # gcc 12 reports these falsely inside the standard library at -O2.
  target_compile_options(eventstore_options INTERFACE
    -Wno-restrict -Wno-maybe-uninitialized -Wno-missing-field-initializers)
endif()

if(EVENTSTORE_SANITIZER)
  add_compile_options(-fsanitize=${EVENTSTORE_SANITIZER} -fno-sanitize-recover=all -g)
  add_link_options(-fsanitize=${EVENTSTORE_SANITIZER})
endif()

find_package(Threads REQUIRED)

# eventstore_library(NAME SOURCES... LINKS...): one room of the server as a static library.
function(eventstore_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE eventstore_options PUBLIC ${ARG_LINKS} Threads::Threads)
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
endfunction()
